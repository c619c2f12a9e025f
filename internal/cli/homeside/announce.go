package homeside

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/served"
	"github.com/gatelodge/gatelodge/internal/status"
)

// announce says where a forward is published. Of one that leads to this host it
// says who is served, as far as can be seen from here.
func announce(ctx context.Context, a *command.App, f config.NewForward, s status.Forward, r status.Report) {
	t := tunnelOf(s, r)
	public, notes := publicAddrs(t, s), []string(nil)
	if f.To == "" {
		// Without an answer to this the forward is published as well.
		if answers, err := served.Look(ctx, f.Ports, t); err == nil {
			notes = served.Notes(s.Name, public, answers)
			public = served.At(public, answers)
		}
	}
	a.Printf("%s is published: %s at %s → %s\n", s.Name, strings.Join(s.Ports, " "), publicText(public, s.Families), targetText(s))
	// What keeps visitors out, such as another firewall, is news with the first
	// forward.
	for _, note := range append(notes, r.Problems...) {
		a.Notef("%s", note)
	}
}

// tunnelOf returns the tunnel by which the visitors of a forward come.
func tunnelOf(f status.Forward, r status.Report) status.Tunnel {
	i := slices.IndexFunc(r.Gates, func(l status.Link) bool { return l.Name == f.Gate })
	if i < 0 {
		return status.Tunnel{}
	}
	return r.Gates[i].Tunnel
}

// publicAddrs lists where visitors of a forward arrive: the gate's addresses of
// the families that the forward and the tunnel have.
func publicAddrs(t status.Tunnel, f status.Forward) []netip.Addr {
	var list []netip.Addr
	for _, addr := range t.Public {
		family, same := "IPv6", netip.Addr.Is6
		if addr.Is4() {
			family, same = "IPv4", netip.Addr.Is4
		}
		if strings.Contains(f.Families, family) && slices.ContainsFunc(t.Addresses, same) {
			list = append(list, addr)
		}
	}
	return list
}

// publicText shows them.
func publicText(public []netip.Addr, families string) string {
	if len(public) == 0 {
		return "no address of the gate, as it takes visitors by " + families + " only"
	}
	text := make([]string, len(public))
	for i, addr := range public {
		text[i] = addr.String()
	}
	return strings.Join(text, " and ")
}

func targetText(f status.Forward) string {
	to := "this host"
	if f.To != "" {
		to = f.To
	}
	if f.Source == forward.Masquerade.String() {
		to += " (masqueraded: the service does not see visitors' addresses)"
	}
	return to
}
