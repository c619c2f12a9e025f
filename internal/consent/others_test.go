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
		"Docker's chain FORWARD of table ip filter (its policy) drops what visitors of 443/tcp send and get; to let that through: iptables -I DOCKER-USER -m mark --mark 0x8/0x8 -j ACCEPT",
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

// One rule that concerns everything names each port once, and not all of them.
func TestARuleThatConcernsManyIsShort(t *testing.T) {
	var both, one []string
	for _, port := range []string{"80/tcp", "443/tcp", "7000/tcp", "7000/udp", "9000/tcp"} {
		both = append(both, "what visitors of "+port+" send", "the answers to visitors of "+port)
		one = append(one, "the answers to visitors of "+port)
	}
	for _, c := range []struct {
		packets []string
		want    string
	}{
		{[]string{"what visitors of 80/tcp send", "the answers to what visitors of 80/tcp send"}, "what visitors of 80/tcp send and get"},
		{both, "what visitors of 443/tcp, 7000/tcp, 7000/udp and 2 more send and get"},
		{append(one, "WireGuard's packets"), "WireGuard's packets, the answers to visitors of 443/tcp, 7000/tcp, 7000/udp and 2 more"},
		{append(both[:3:3], "pings"), "pings, what visitors of 443/tcp, 80/tcp send, the answers to visitors of 80/tcp"},
	} {
		if got := suffering(c.packets); got != c.want {
			t.Errorf("got %q, wanted %q", got, c.want)
		}
	}
}
