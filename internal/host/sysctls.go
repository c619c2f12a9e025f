package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/host/routing"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/store"
)

// notes are what is written down of the machine before it is changed, for it to be
// as it was in the end.
type notes struct {
	journal *store.Journal
	routing *routing.Routing
}

// set notes the previous value before it changes it; settings of the
// tunnel interface go with the interface and need no note.
func (n notes) set(ctx context.Context, c plan.SetSysctl, tunnel string) error {
	if !c.Sysctl.OfInterface(tunnel) {
		swept, err := n.swept(c.Sysctl.Name, tunnel)
		if err != nil {
			return err
		}
		if err := n.values(append(swept, c.Sysctl.Name)...); err != nil {
			return err
		}
	}
	return n.routing.SetSysctl(ctx, c.Sysctl)
}

// forwarding are the settings with which the kernel sets others by itself:
// that of each interface, and for IPv4 whether redirects are accepted
// (inet_forward_change in net/ipv4/devinet.c of Linux, addrconf_fixup_forwarding
// in net/ipv6/addrconf.c).
var forwarding = map[string]string{
	"net.ipv4.ip_forward":          "net.ipv4.conf.",
	"net.ipv6.conf.all.forwarding": "net.ipv6.conf.",
}

const acceptRedirects = "net.ipv4.conf.all.accept_redirects"

// sweeps reports whether the kernel sets the other setting along with one.
func sweeps(one, other string) bool {
	prefix, ok := forwarding[one]
	return ok && one != other && strings.HasPrefix(other, prefix) &&
		(strings.HasSuffix(other, ".forwarding") || other == acceptRedirects)
}

// swept returns the settings to note before another is set, and so to restore
// after it: those that the kernel would not restore by itself, as they differ.
func (n notes) swept(name, tunnel string) ([]string, error) {
	prefix, ok := forwarding[name]
	if !ok {
		return nil, nil
	}
	interfaces, err := n.routing.ForwardOtherwise(name, prefix)
	if err != nil {
		return nil, err
	}
	var differ []string
	for _, other := range interfaces {
		if !(plan.Sysctl{Name: other}).OfInterface(tunnel) {
			differ = append(differ, other)
		}
	}
	if sweeps(name, acceptRedirects) {
		differ = append(differ, acceptRedirects)
	}
	return differ, nil
}

// restoreSwept gives what the kernel has set along with a setting its value
// from before us.
func (n notes) restoreSwept(ctx context.Context, name string) error {
	var errs []error
	for _, e := range n.journal.Entries() {
		if e.Kind == sysctlKind && sweeps(name, e.Name) {
			errs = append(errs, n.routing.SetSysctl(ctx, plan.Sysctl{Name: e.Name, Value: e.Previous}))
		}
	}
	return errors.Join(errs...)
}

// values writes down the values of sysctls, for Remove to restore them, the last
// one first. Only the first note of a name counts; "" is none.
func (n notes) values(sysctls ...string) error {
	var entries []store.Entry
	for _, name := range sysctls {
		if name == "" {
			continue
		}
		previous, err := n.routing.ReadSysctl(name)
		if err != nil {
			return err
		}
		entries = append(entries, store.Entry{Kind: sysctlKind, Name: name, Previous: previous})
	}
	if err := n.journal.Record(entries...); err != nil {
		return fmt.Errorf("cannot remember the previous value of %s: %w", strings.Join(sysctls, " "), err)
	}
	return nil
}

// tables writes down which routing tables become ours, so that what is in
// them is found again after a crash, also if the configuration names others then.
func (n notes) tables(want plan.Routing) error {
	var entries []store.Entry
	for _, table := range routing.TablesOf(want) {
		entries = append(entries, store.Entry{Kind: tableKind, Name: strconv.Itoa(table)})
	}
	if err := n.journal.Record(entries...); err != nil {
		return fmt.Errorf("cannot remember which routing tables are ours: %w", err)
	}
	n.routing.Remember(tablesIn(entries)...)
	return nil
}

// restore gives settings that were changed their previous values, the last
// change first. The journal still holds the values from before us.
func (n notes) restore(ctx context.Context, made []plan.Step, tunnel string) error {
	var errs []error
	for _, c := range slices.Backward(made) {
		set, ok := c.(plan.SetSysctl)
		if !ok || set.Sysctl.OfInterface(tunnel) {
			continue
		}
		errs = append(errs, n.routing.SetSysctl(ctx, plan.Sysctl{Name: set.Sysctl.Name, Value: set.Previous}))
		errs = append(errs, n.restoreSwept(ctx, set.Sysctl.Name))
	}
	return errors.Join(errs...)
}
