package host

import (
	"context"
	"errors"
	"strings"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// setSysctl notes the previous value before it changes it; settings of the
// tunnel interface go with the interface and need no note.
func (h *Host) setSysctl(ctx context.Context, c plan.SetSysctl, tunnel string) error {
	if !c.Sysctl.OfInterface(tunnel) {
		swept, err := h.swept(c.Sysctl.Name, tunnel)
		if err != nil {
			return err
		}
		if err := h.note(append(swept, c.Sysctl.Name)...); err != nil {
			return err
		}
	}
	return h.routing.SetSysctl(ctx, c.Sysctl)
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
func (h *Host) swept(name, tunnel string) ([]string, error) {
	prefix, ok := forwarding[name]
	if !ok {
		return nil, nil
	}
	interfaces, err := h.routing.ForwardOtherwise(name, prefix)
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

// putBackSwept gives what the kernel has set along with a setting its value
// from before us.
func (h *Host) putBackSwept(ctx context.Context, name string) error {
	var errs []error
	for _, e := range h.journal.Entries() {
		if e.Kind == sysctlKind && sweeps(name, e.Name) {
			errs = append(errs, h.routing.SetSysctl(ctx, plan.Sysctl{Name: e.Name, Value: e.Previous}))
		}
	}
	return errors.Join(errs...)
}
