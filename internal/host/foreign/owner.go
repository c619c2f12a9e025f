package foreign

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/host/remedy"
)

// The firewalls that are known by the names they give.
const (
	ufw        = "ufw"
	firewalld  = "firewalld"
	docker     = "Docker"
	fail2ban   = "fail2ban"
	nftService = "nftables.service"
	persistent = "iptables-persistent"
	legacy     = "iptables-legacy"
)

// owner tells whose a verdict is, by the names around it.
func (r *reader) owner(d Drop) string {
	chains := r.names[d.Family+" "+d.Table]
	has := func(prefix string) bool {
		return slices.ContainsFunc(chains, func(c string) bool { return strings.HasPrefix(c, prefix) })
	}
	iptables := d.Family != "inet" && d.Table == "filter"
	switch {
	case d.Table == "firewalld":
		return firewalld
	case strings.HasPrefix(d.Table, "f2b-") || strings.HasPrefix(d.Chain, "f2b-"):
		return fail2ban
	case iptables && (has("ufw-") || has("ufw6-")):
		return ufw
	case iptables && d.Base == "FORWARD" && has("DOCKER") && d.Rule == "":
		return docker
	case iptables && exists("/etc/iptables/rules.v4"):
		return persistent
	case !iptables && d.Table == "filter" && exists("/etc/nftables.conf"):
		return nftService
	}
	return ""
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// remedy lets the packet through, by the owner's own door where it has one.
// Elsewhere one rule does that knows the mark of packets that our own chains
// have accepted.
func (d Drop) remedy() remedy.Remedy {
	p := d.Packet
	fromTunnel := p.In == p.Tunnel
	port := remedy.Remedy{Port: p.Port, Protocol: protocolText(p.Protocol)}
	iptables := d.iptables()
	switch {
	case d.Deed != Drops || p.Hook != Input && p.Hook != Forward:
		return remedy.Remedy{} // nobody has a door for that
	case d.Owner == ufw && p.Hook == Forward:
		return remedy.Remedy{Tool: remedy.UFW, Interface: p.Tunnel, Leaving: true}
	case d.Owner == ufw && fromTunnel:
		return remedy.Remedy{Tool: remedy.UFW, Interface: p.Tunnel}
	case d.Owner == ufw:
		port.Tool = remedy.UFW
		return port
	case d.Owner == firewalld && (fromTunnel || p.Hook == Forward):
		return remedy.Remedy{Tool: remedy.Firewalld, Interface: p.Tunnel}
	case d.Owner == firewalld:
		port.Tool = remedy.Firewalld
		return port
	case p.Mark == 0:
		return remedy.Remedy{} // it comes before ours: nothing there knows our packets
	case d.Owner == docker:
		return remedy.Remedy{Tool: iptables, Chain: "DOCKER-USER", Mark: p.Mark}
	case d.Family != "inet" && d.Table == "filter":
		return remedy.Remedy{Tool: iptables, Chain: d.Base, Mark: p.Mark}
	}
	return remedy.Remedy{Tool: remedy.NFT, Family: d.Family, Table: d.Table, Chain: d.Base, Mark: p.Mark}
}

// iptables is the one that knows the table.
func (d Drop) iptables() remedy.Tool {
	tool := remedy.IPTables
	if d.Family == "ip6" {
		tool = remedy.IP6Tables
	}
	if d.Legacy {
		tool += remedy.LegacySuffix
	}
	return tool
}

func protocolText(p uint8) string {
	if p == 17 {
		return "udp"
	}
	return "tcp"
}

// ruleTime bounds how long nft(8) may take to show a chain.
const ruleTime = 5 * time.Second

// ruleText asks nft(8) how a rule is written. Where it cannot say, the handle
// does: with it the rule is found by nft --handle list ruleset.
func ruleText(ctx context.Context, d Drop) string {
	if d.Rule == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, ruleTime)
	defer cancel()
	out, err := netfilter.Output(ctx, "nft", "--handle", "--stateless", "list", "chain", d.Family, d.Table, d.Chain)
	if err != nil {
		return strings.TrimPrefix(d.Rule, "# ")
	}
	for line := range strings.Lines(out) {
		if text, ok := strings.CutSuffix(strings.TrimSpace(line), " "+d.Rule); ok {
			return text
		}
	}
	return strings.TrimPrefix(d.Rule, "# ")
}
