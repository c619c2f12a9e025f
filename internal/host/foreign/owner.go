package foreign

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// The firewalls that are known by the names they give.
const (
	ufw        = "ufw"
	firewalld  = "firewalld"
	docker     = "Docker"
	fail2ban   = "fail2ban"
	nftService = "nftables.service"
	persistent = "iptables-persistent"
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

// remedy is the command that lets the packet through, by the owner's own door
// where it has one. Elsewhere one rule does that knows the mark of packets that
// our own chains have accepted; see plan.Marks.
func (d Drop) remedy() string {
	p := d.Packet
	fromTunnel := p.In == p.Tunnel
	port := fmt.Sprintf("%d/%s", p.Port, protocolText(p.Protocol))
	mark := fmt.Sprintf("-m mark --mark %#x/%#x -j ACCEPT", p.Mark, p.Mark)
	iptables := "iptables"
	if d.Family == "ip6" {
		iptables = "ip6tables"
	}
	switch {
	case d.Owner == ufw && p.Hook == Forward:
		return "ufw route allow out on " + p.Tunnel
	case d.Owner == ufw && fromTunnel:
		return fmt.Sprintf("ufw allow in on %s", p.Tunnel)
	case d.Owner == ufw:
		return "ufw allow " + port
	case d.Owner == firewalld && (fromTunnel || p.Hook == Forward):
		return fmt.Sprintf("firewall-cmd --permanent --zone=trusted --add-interface=%s && firewall-cmd --reload", p.Tunnel)
	case d.Owner == firewalld:
		return fmt.Sprintf("firewall-cmd --permanent --add-port=%s && firewall-cmd --reload", port)
	case d.Owner == docker:
		return iptables + " -I DOCKER-USER " + mark
	case d.Family != "inet" && d.Table == "filter":
		return fmt.Sprintf("%s -I %s %s", iptables, d.Base, mark)
	}
	return fmt.Sprintf("nft insert rule %s %s %s meta mark and %#x == %#x accept", d.Family, d.Table, d.Base, p.Mark, p.Mark)
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
	cmd := exec.CommandContext(ctx, "nft", "--handle", "list", "chain", d.Family, d.Table, d.Chain)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.Output()
	if err != nil {
		return strings.TrimPrefix(d.Rule, "# ")
	}
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutSuffix(strings.TrimSpace(line), " "+d.Rule); ok {
			return text
		}
	}
	return strings.TrimPrefix(d.Rule, "# ")
}
