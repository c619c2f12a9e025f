package routing

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// home is what a home wants on the interface, with a table and marks of its
// own: what package plan makes of a configuration.
func home(name string, table, priority int, mark uint32) plan.Routing {
	part := strings.ReplaceAll(name, ".", "/")
	r := plan.Routing{Interface: name, MTU: 1420, Sysctls: []plan.Sysctl{
		{Name: "net.ipv4.conf." + part + ".rp_filter", Value: "2"},
		{Name: "net.ipv6.conf." + part + ".disable_ipv6", Value: "0"},
		{Name: "net.ipv4.ip_forward", Value: "1"},
	}}
	for _, own := range []netip.Addr{addr(fmt.Sprintf("10.99.0.%d", table%256)), addr(fmt.Sprintf("fd99::%d", table))} {
		everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if own.Is6() {
			everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		host := netip.PrefixFrom(own, own.BitLen())
		base := plan.Rule{IPv6: own.Is6(), Mark: mark, Mask: 0xf0000000, Table: table, SuppressPrefixLength: -1}
		outer, local, answer, from := base, base, base, base
		outer.Priority, outer.Mark, outer.Table = priority, mark+0x10000000, plan.MainTable
		local.Priority, local.Table, local.SuppressPrefixLength = priority+1, plan.MainTable, 1
		answer.Priority = priority + 2
		from.Priority, from.Mark, from.Mask, from.From = priority+3, 0, 0, host
		r.Addresses = append(r.Addresses, host)
		r.Rules = append(r.Rules, outer, local, answer, from)
		if own.Is4() {
			last := base
			last.Priority, last.Mark = 32768+priority, 0
			r.Rules = append(r.Rules, last)
		}
		r.Routes = append(r.Routes,
			plan.Route{Destination: everywhere, Table: table, Interface: name, Metric: 100},
			plan.Route{Destination: everywhere, Table: table, Blackhole: true, Metric: 4294967295})
	}
	return r
}

// changes is what lies between the namespace and the wanted state.
func changes(r *Routing, want plan.Routing) ([]plan.Step, error) {
	observed, err := r.Observe(context.Background(), want)
	if err != nil {
		return nil, err
	}
	var list []plan.Step
	for _, c := range plan.Diff(plan.Observed{Routing: observed}, plan.State{Routing: want}) {
		switch c.(type) {
		case plan.LoadFirewall, plan.ConfigureWireGuard: // of other rooms
		default:
			list = append(list, c)
		}
	}
	return list, nil
}

func apply(ctx context.Context, r *Routing, c plan.Step) error {
	switch c := c.(type) {
	case plan.SetLink:
		return r.SetLink(ctx, c.Interface, c.MTU)
	case plan.AddAddress:
		return r.AddAddress(ctx, c.Interface, c.Address)
	case plan.DeleteAddress:
		return r.DeleteAddress(ctx, c.Interface, c.Address)
	case plan.AddRoute:
		return r.ReplaceRoute(ctx, c.Route)
	case plan.DeleteRoute:
		return r.DeleteRoute(ctx, c.Route)
	case plan.AddRule:
		return r.AddRule(ctx, c.Rule)
	case plan.DeleteRule:
		return r.DeleteRule(ctx, c.Rule)
	case plan.SetSysctl:
		return r.SetSysctl(ctx, c.Sysctl)
	default:
		return fmt.Errorf("unknown change %T", c)
	}
}

// bring brings the namespace to the wanted state, and checks that it is.
func bring(t testing.TB, ns *netns.Namespace, want plan.Routing) {
	t.Helper()
	within(t, ns, func() error {
		r := open(t)
		list, err := changes(r, want)
		for _, c := range list {
			if err := apply(t.Context(), r, c); err != nil {
				return fmt.Errorf("cannot %s: %w", c, err)
			}
		}
		left, observeErr := changes(r, want)
		if len(left) > 0 {
			t.Errorf("still to do: %v", left)
		}
		return errors.Join(err, observeErr)
	})
	settle(t, ns, want.Addresses)
}

// settle waits for the routes that the kernel adds for IPv6 addresses a moment
// after these.
func settle(t testing.TB, ns *netns.Namespace, addresses []netip.Prefix) {
	t.Helper()
	const patience = 10 * time.Second
	for _, a := range addresses {
		deadline := time.Now().Add(patience)
		for a.Addr().Is6() && !strings.Contains(run(t, ns, "", "ip", "-6", "route", "show", "table", "local"), "local "+a.Addr().String()+" ") {
			if time.Now().After(deadline) {
				t.Fatalf("no local route for %s after %v", a, patience)
			}
		}
	}
}

func open(t testing.TB) *Routing {
	t.Helper()
	r, err := Open()
	if err != nil {
		t.Error(err)
	}
	return r
}

// foreign is what others have: some looks much like ours.
const foreign = `
	link add eth0 type bridge
	link set eth0 up
	addr add 192.0.2.2/24 dev eth0
	route add default via 192.0.2.1
	route add 203.0.113.0/24 dev eth0 table 6700
	route add blackhole 198.51.100.0/24 table 6700
	rule add pref 102 fwmark 0x10000000/0xf0000000 lookup 6700
	rule add pref 103 from 10.99.0.44 lookup 6700
	rule add pref 90 lookup 77 protocol 3`

func TestApplyThenObserve(t *testing.T) {
	for _, name := range []string{"gatelodge", "gl.0"} {
		t.Run(name, func(t *testing.T) {
			ns := newHost(t, "link add "+name+" type bridge")
			want := home(name, 6700, 100, 0x10000000)
			bring(t, ns, want)

			// Another address, table and priorities: what was is deleted.
			bring(t, ns, home(name, 6701, 200, 0x10000000))
			// Less: without IPv6, then nothing but the link.
			want.Addresses, want.Rules, want.Routes = want.Addresses[:1], want.Rules[:4], want.Routes[:2]
			bring(t, ns, want)
			bring(t, ns, plan.Routing{Interface: name, MTU: 1280})
			if dump := dumpOf(t, ns); strings.Contains(dump, "proto 155") || strings.Contains(dump, "670") {
				t.Errorf("left behind:\n%s", dump)
			}
		})
	}
}

func TestForeignRulesAndRoutesStay(t *testing.T) {
	ns := newHost(t, foreign)
	before := dumpOf(t, ns)
	ip(t, ns, "link add gatelodge type bridge")
	bring(t, ns, home("gatelodge", 6700, 100, 0x10000000))
	bring(t, ns, plan.Routing{Interface: "gatelodge", MTU: 1420})
	ip(t, ns, "link del gatelodge")
	if after := dumpOf(t, ns); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestRepeatedAndGoneAreNoErrors(t *testing.T) {
	ns := newHost(t, "link add gatelodge type bridge")
	want := home("gatelodge", 6700, 100, 0x10000000)
	bring(t, ns, want)
	within(t, ns, func() error {
		r, ctx := open(t), t.Context()
		var errs []error
		for _, a := range want.Addresses {
			errs = append(errs, r.AddAddress(ctx, "gatelodge", a),
				r.DeleteAddress(ctx, "gatelodge", a), r.DeleteAddress(ctx, "gatelodge", a))
		}
		for _, rule := range want.Rules {
			errs = append(errs, r.AddRule(ctx, rule), r.DeleteRule(ctx, rule), r.DeleteRule(ctx, rule))
		}
		for _, route := range want.Routes {
			errs = append(errs, r.ReplaceRoute(ctx, route), r.DeleteRoute(ctx, route), r.DeleteRoute(ctx, route))
		}
		gone := plan.Route{Destination: prefix("0.0.0.0/0"), Table: 6700, Interface: "nosuch"}
		return errors.Join(append(errs, r.DeleteRoute(ctx, gone))...)
	})
}

func TestAMissingInterfaceIsAnError(t *testing.T) {
	within(t, netnstest.New(t, "host"), func() error {
		r, ctx := open(t), t.Context()
		for what, err := range map[string]error{
			"SetLink":       r.SetLink(ctx, "nosuch", 1420),
			"AddAddress":    r.AddAddress(ctx, "nosuch", prefix("10.99.0.2/32")),
			"DeleteAddress": r.DeleteAddress(ctx, "nosuch", prefix("10.99.0.2/32")),
			"ReplaceRoute":  r.ReplaceRoute(ctx, plan.Route{Destination: prefix("0.0.0.0/0"), Interface: "nosuch"}),
		} {
			if err == nil || !strings.Contains(err.Error(), "nosuch") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if r.HasLink("nosuch") || !r.HasLink("lo") {
			t.Error("HasLink is wrong")
		}
		o, err := r.Observe(ctx, plan.Routing{Interface: "nosuch", Sysctls: []plan.Sysctl{{Name: "net.ipv4.conf.nosuch.rp_filter", Value: "2"}}})
		if o.LinkPresent || len(o.Sysctls) > 0 {
			t.Errorf("observed %+v", o)
		}
		return err
	})
}

func TestNoIPv6IsSaid(t *testing.T) {
	ns := newHost(t, "link add gatelodge type bridge")
	within(t, ns, func() error {
		if err := open(t).AddAddress(t.Context(), "gatelodge", prefix("fd99::2/128")); !errors.Is(err, ErrNoIPv6) {
			t.Errorf("AddAddress: %v", err)
		}
		return nil
	})
}
