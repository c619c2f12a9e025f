package consent

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/host/foreign"
	"github.com/gatelodge/gatelodge/internal/host/remedy"
)

func TestOneSentenceForEachRuleOfOthers(t *testing.T) {
	drop := func(what string) host.OthersDrop {
		return host.OthersDrop{
			Packet: foreign.Packet{What: what, Hook: foreign.Forward, Protocol: 6, Port: 443},
			Family: "ip", Table: "filter", Base: "FORWARD", Chain: "FORWARD", Owner: "Docker", Remedy: host.Remedy{Tool: remedy.IPTables, Chain: "DOCKER-USER", Mark: 8},
		}
	}
	other := drop("WireGuard's packets")
	other.Owner, other.Family, other.Chain, other.Rule, other.Remedy = "", "inet", "input", "udp dport 55107 drop", host.Remedy{Tool: remedy.UFW, Port: 55107, Protocol: "udp"}
	got := describe([]host.OthersDrop{drop("what visitors of 443/tcp send"), other, drop("the answers to visitors of 443/tcp"), drop("what visitors of 443/tcp send")})
	want := []string{
		"Docker's chain FORWARD of table ip filter (its policy) drops what visitors of 443/tcp send, the answers to visitors of 443/tcp; to let that through: iptables -I DOCKER-USER -m mark --mark 0x8/0x8 -j ACCEPT",
		"Chain input of table inet filter (udp dport 55107 drop) drops WireGuard's packets; to let that through: ufw allow 55107/udp",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatOthersDoInOneSentence(t *testing.T) {
	at := func(deed, chain, what string) host.OthersDrop {
		d := host.OthersDrop{Family: "inet", Table: "other", Chain: chain, Rule: "x"}
		d.Deed, d.Packet.What = host.Deed(deed), what
		return d
	}
	got := describe([]host.OthersDrop{at("drops", "f", "a"), at("drops", "f", "b"), at("hides", "n", "a"), at("untracks", "r", "a"), at("remarks", "m", "a")})
	want := []string{
		"Chain f of table inet other (x) drops a, b",
		"Chain n of table inet other (x) replaces the visitors' addresses in a",
		"Chain r of table inet other (x) exempts from connection tracking, so that it is not forwarded, a",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
