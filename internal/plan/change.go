package plan

import (
	"fmt"
	"net/netip"
	"strings"
)

// Change is one difference between what is and what is wanted: what an owner has
// decided, or a setting of the machine.
type Change struct {
	Kind    ChangeKind `json:"kind"`
	Subject string     `json:"subject"` // "forward web", "accept 8080/tcp", "sysctl net.ipv4.ip_forward"
	// Property is which part of the subject is another one.
	Property string `json:"property,omitempty"`
	Before   string `json:"before,omitempty"`
	After    string `json:"after,omitempty"`
	// Because says, in words, why a whole is set again; see Step.
	Because []string `json:"because,omitempty"`
	// Machine is set for a step that the machine takes; the others are what an owner
	// has decided.
	Machine bool `json:"machine,omitempty"`
}

// SysctlSubject is before the name of a setting, as the subject of its change.
const SysctlSubject = "sysctl "

// ChangeKind is what becomes of the subject of a change.
type ChangeKind string

// The kinds of change.
const (
	Added   ChangeKind = "add"
	Altered ChangeKind = "change"
	Removed ChangeKind = "remove"
)

// String shows the change in one line, as in "~ forward game: limit 20/second →
// 50/second".
func (c Change) String() string {
	sign := map[ChangeKind]string{Added: "+ ", Altered: "~ ", Removed: "- "}[c.Kind]
	text := sign + c.Subject
	switch {
	case len(c.Because) > 0:
		text += ": " + strings.Join(c.Because, "; ")
	case c.Kind == Altered:
		text += ": " + words(c.Property, orNone(c.Before)) + " → " + orNone(c.After)
	default:
		text = words(text, c.Before+c.After)
	}
	return text
}

// words joins what there is.
func words(a, b string) string { return strings.TrimSpace(a + " " + b) }

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// Step is one step of the machine from the observed state to the wanted one. The
// concrete types below are all there are.
type Step interface {
	fmt.Stringer
	// Change describes the step.
	Change() Change
}

// Describe returns the changes that steps make.
func Describe(steps []Step) []Change {
	changes := make([]Change, len(steps))
	for i, s := range steps {
		changes[i] = s.Change()
		changes[i].Machine = true
	}
	return changes
}

// LoadFirewall loads the wanted table, in one transaction.
type LoadFirewall struct {
	Table   string
	Reasons []string
}

// RaiseGuard makes what keeps the tunnel shut while the table is away.
type RaiseGuard struct {
	Table   string
	Reasons []string
}

// ConfigureWireGuard brings the device to the wanted configuration, making
// its interface where there is none.
type ConfigureWireGuard struct {
	Interface string
	Reasons   []string
	Missing   bool // there is no such device
}

// SetLink sets the tunnel interface's MTU and brings it up.
type SetLink struct {
	Interface string
	MTU       int
}

// AddAddress gives the tunnel interface an address.
type AddAddress struct {
	Interface string
	Address   netip.Prefix
}

// DeleteAddress takes an address from the tunnel interface.
type DeleteAddress struct {
	Interface string
	Address   netip.Prefix
}

// AddRoute adds a route of ours, or replaces one with the same destination,
// table and metric.
type AddRoute struct{ Route Route }

// DeleteRoute deletes a route of ours.
type DeleteRoute struct{ Route Route }

// AddRule adds a policy routing rule.
type AddRule struct{ Rule Rule }

// DeleteRule deletes a policy routing rule of ours.
type DeleteRule struct{ Rule Rule }

// SetSysctl sets a kernel setting. The previous value is remembered, and
// restored when Gatelodge goes down.
type SetSysctl struct {
	Sysctl   Sysctl
	Previous string
}

// Change implements Step.
func (s LoadFirewall) Change() Change {
	return Change{Kind: Altered, Subject: "table inet " + s.Table, Because: s.Reasons}
}

// Change implements Step.
func (s RaiseGuard) Change() Change {
	return Change{Kind: Altered, Subject: "guard of table " + s.Table, Because: s.Reasons}
}

// Change implements Step.
func (s ConfigureWireGuard) Change() Change {
	c := Change{Kind: Altered, Subject: "WireGuard interface " + s.Interface, Because: s.Reasons}
	if s.Missing {
		c.Kind = Added
	}
	return c
}

// Change implements Step.
func (s SetLink) Change() Change {
	return Change{Kind: Altered, Subject: "link " + s.Interface, Because: []string{fmt.Sprintf("up, MTU %d", s.MTU)}}
}

// Change implements Step.
func (s AddAddress) Change() Change {
	return Change{Kind: Added, Subject: fmt.Sprintf("address %s of %s", s.Address, s.Interface)}
}

// Change implements Step.
func (s DeleteAddress) Change() Change {
	return Change{Kind: Removed, Subject: fmt.Sprintf("address %s of %s", s.Address, s.Interface)}
}

// Change implements Step.
func (s AddRoute) Change() Change { return Change{Kind: Added, Subject: "route " + s.Route.String()} }

// Change implements Step.
func (s DeleteRoute) Change() Change {
	return Change{Kind: Removed, Subject: "route " + s.Route.String()}
}

// Change implements Step.
func (s AddRule) Change() Change { return Change{Kind: Added, Subject: "rule " + s.Rule.String()} }

// Change implements Step.
func (s DeleteRule) Change() Change { return Change{Kind: Removed, Subject: "rule " + s.Rule.String()} }

// Change implements Step.
func (s SetSysctl) Change() Change {
	return Change{Kind: Altered, Subject: SysctlSubject + s.Sysctl.Name, Before: s.Previous, After: s.Sysctl.Value}
}

func (s LoadFirewall) String() string       { return s.Change().String() }
func (s RaiseGuard) String() string         { return s.Change().String() }
func (s ConfigureWireGuard) String() string { return s.Change().String() }
func (s SetLink) String() string            { return s.Change().String() }
func (s AddAddress) String() string         { return s.Change().String() }
func (s DeleteAddress) String() string      { return s.Change().String() }
func (s AddRoute) String() string           { return s.Change().String() }
func (s DeleteRoute) String() string        { return s.Change().String() }
func (s AddRule) String() string            { return s.Change().String() }
func (s DeleteRule) String() string         { return s.Change().String() }
func (s SetSysctl) String() string          { return s.Change().String() }

// String returns the route in the words of ip-route(8).
func (r Route) String() string {
	var b strings.Builder
	if r.Blackhole {
		b.WriteString("blackhole ")
	}
	if r.Destination.Bits() == 0 {
		b.WriteString("default")
		if r.Destination.Addr().Is6() {
			b.WriteString(" (IPv6)")
		}
	} else {
		b.WriteString(r.Destination.String())
	}
	if r.Interface != "" {
		b.WriteString(" dev " + r.Interface)
	}
	fmt.Fprintf(&b, " table %d", r.Table)
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	return b.String()
}

// String returns the rule in the words of ip-rule(8).
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", r.Priority)
	if r.IPv6 {
		b.WriteString(" (IPv6)")
	}
	if r.From.IsValid() {
		fmt.Fprintf(&b, " from %s", r.From.Addr())
	}
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %s", r.To)
	}
	if r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark %#x/%#x", r.Mark, r.Mask)
	}
	fmt.Fprintf(&b, " lookup %s", tableName(r.Table))
	if r.SuppressPrefixLength >= 0 {
		fmt.Fprintf(&b, " suppress_prefixlength %d", r.SuppressPrefixLength)
	}
	return b.String()
}

// MainTable is the number of the main routing table (ip-route(8)).
const MainTable = 254

func tableName(table int) string {
	if table == MainTable {
		return "main"
	}
	return fmt.Sprint(table)
}
