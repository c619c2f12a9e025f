package doctor

import (
	"fmt"
	"regexp"
	"slices"
)

// Hook is where others do something to a packet.
type Hook string

// The hooks at which others can defeat what ours let through.
const (
	Input   Hook = "input"
	Passing Hook = "forward"
	Arrival Hook = "prerouting"
	Output  Hook = "output"
	Leaving Hook = "postrouting"
)

// Deed is what others do to a packet.
type Deed string

// The deeds of others. A gate of an older version tells of drops alone, and
// gives them no name.
const (
	Drops    Deed = "drops"
	Hides    Deed = "hides"
	Untracks Deed = "untracks"
	Remarks  Deed = "remarks"
)

// Drop is what a rule of somebody else does to a packet of ours; most drop it.
type Drop struct {
	Deed   Deed   `json:"deed,omitempty"` // empty: drops
	Hook   Hook   `json:"hook"`
	Owner  string `json:"owner,omitempty"` // "ufw", "firewalld", "Docker" …
	Table  string `json:"table"`           // with its family: "ip filter"
	Chain  string `json:"chain"`
	Rule   string `json:"rule,omitempty"` // empty: the chain's policy
	Remedy string `json:"remedy,omitempty"`
	// Legacy is set where the rule is iptables-legacy's.
	Legacy bool `json:"legacy,omitempty"`
	// Protocol and Port are of the packet that it was seen to drop; zero: any.
	Protocol string `json:"protocol,omitempty"`
	Port     uint16 `json:"port,omitempty"`
}

// does reports whether that is what it does.
func (d Drop) does(deed Deed) bool { return d.Deed == deed || d.Deed == "" && deed == Drops }

// deedAt finds what others do at one of the hooks, in their order; no protocol and
// port 0 stand for any.
func deedAt(s Side, deed Deed, protocol string, port uint16, hooks ...Hook) (Drop, bool) {
	for _, hook := range hooks {
		i := slices.IndexFunc(s.Drops, func(d Drop) bool {
			return d.does(deed) && d.Hook == hook && (d.Protocol == "" || protocol == "" || d.Protocol == protocol) && (d.Port == 0 || port == 0 || d.Port == port)
		})
		if i >= 0 {
			return s.Drops[i], true
		}
	}
	return Drop{}, false
}

// word is what a command may be made of: names can come from the other side.
var word = regexp.MustCompile(`^(ip|ip6|inet|bridge|netdev)? ?[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// command fixes it, or shows the chain whose owner has to.
func (d Drop) command() string {
	switch {
	case d.Remedy != "":
		return d.Remedy
	case d.Legacy:
		return "iptables-legacy-save; ip6tables-legacy-save"
	case !word.MatchString(d.Table) || !word.MatchString(d.Chain):
		return "nft --handle list ruleset"
	}
	return fmt.Sprintf("nft --handle list chain %s %s", d.Table, d.Chain)
}

// String names the place of what is done, and whose it is.
func (d Drop) String() string {
	text := fmt.Sprintf("chain %s of table %s", d.Chain, d.Table)
	if d.Rule != "" {
		text += fmt.Sprintf(" (%s)", d.Rule)
	} else {
		text += " (its policy)"
	}
	if d.Owner != "" {
		return d.Owner + "'s " + text
	}
	return upperFirst(text)
}

// judgeHidden finds rules that hide visitors from the services. Where a service
// trusts the address that it sees, all the world is trusted: so home refuses the
// gate's own address but where a forward asks for it.
func judgeHidden(s Side, where Hop, on string) []Finding {
	d, ok := deedAt(s, Hides, "", 0, Leaving)
	if !ok {
		return nil
	}
	severity, sentence := Broken, fmt.Sprintf("%s on the gate replaces the visitors' addresses by the gate's own, which home lets in only for forwards with masquerade: all other visitors are refused.", d)
	if where == AtHome {
		severity, sentence = Warning, fmt.Sprintf("%s on this machine replaces the visitors' addresses by its own: services see that one for everybody, and a mail server or proxy that trusts it is open to the whole internet.", d)
	}
	return []Finding{{ID: SourceHidden, Where: where, Severity: severity, On: on, Sentence: sentence,
		Command: d.command(), Hint: "have its owner delete that rule, or bind it to what it is meant for (its own oifname and source)"}}
}
