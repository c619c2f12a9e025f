package plan

import (
	"fmt"
	"net/netip"
	"strings"
)

// Change is one step from the observed state to the wanted one. Its text is
// what `gatelodge plan` shows; the concrete types below are all there are.
type Change interface {
	fmt.Stringer
	change()
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

// SetSysctl sets a kernel setting. The previous value is remembered and put
// back when Gatelodge goes down.
type SetSysctl struct {
	Sysctl   Sysctl
	Previous string
}

func (LoadFirewall) change()       {}
func (RaiseGuard) change()         {}
func (ConfigureWireGuard) change() {}
func (SetLink) change()            {}
func (AddAddress) change()         {}
func (DeleteAddress) change()      {}
func (AddRoute) change()           {}
func (DeleteRoute) change()        {}
func (AddRule) change()            {}
func (DeleteRule) change()         {}
func (SetSysctl) change()          {}

func (c LoadFirewall) String() string {
	return fmt.Sprintf("load nftables table inet %s: %s", c.Table, strings.Join(c.Reasons, "; "))
}

func (c RaiseGuard) String() string {
	return fmt.Sprintf("raise the guard of table %s: %s", c.Table, strings.Join(c.Reasons, "; "))
}

func (c ConfigureWireGuard) String() string {
	return fmt.Sprintf("configure WireGuard interface %s: %s", c.Interface, strings.Join(c.Reasons, "; "))
}

func (c SetLink) String() string {
	return fmt.Sprintf("bring up %s with MTU %d", c.Interface, c.MTU)
}

func (c AddAddress) String() string {
	return fmt.Sprintf("add address %s to %s", c.Address, c.Interface)
}

func (c DeleteAddress) String() string {
	return fmt.Sprintf("delete address %s from %s", c.Address, c.Interface)
}

func (c AddRoute) String() string    { return "add route " + c.Route.String() }
func (c DeleteRoute) String() string { return "delete route " + c.Route.String() }
func (c AddRule) String() string     { return "add rule " + c.Rule.String() }
func (c DeleteRule) String() string  { return "delete rule " + c.Rule.String() }

func (c SetSysctl) String() string {
	return fmt.Sprintf("set sysctl %s = %s (now %s)", c.Sysctl.Name, c.Sysctl.Value, c.Previous)
}

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
