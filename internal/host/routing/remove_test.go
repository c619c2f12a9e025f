package routing

import (
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// removeAll removes what belongs to the interface, and returns how much.
func removeAll(t testing.TB, ns *netns.Namespace, name string) (n int) {
	t.Helper()
	within(t, ns, func() (err error) {
		n, err = open(t).Remove(t.Context(), name)
		return err
	})
	return n
}

func TestRemoveLeavesWhatWasBefore(t *testing.T) {
	ns := newHost(t, foreign)
	before := dumpOf(t, ns)
	for _, deleteFirst := range []bool{false, true} {
		ip(t, ns, "link add gatelodge type bridge")
		bring(t, ns, home("gatelodge", 6700, 100, 0x10000000))
		want := 13 // 9 rules, 4 routes
		if deleteFirst {
			ip(t, ns, "link del gatelodge")
			want = 11 // two routes went along
		}
		if n := removeAll(t, ns, "gatelodge"); n != want {
			t.Errorf("removed %d rules and routes, not %d", n, want)
		}
		if n := removeAll(t, ns, "gatelodge"); n != 0 {
			t.Errorf("removed %d more at the second time", n)
		}
		if !deleteFirst {
			ip(t, ns, "link del gatelodge")
		}
		if after := dumpOf(t, ns); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	}
}

func TestRemoveSparesAnotherInstance(t *testing.T) {
	tests := []struct {
		name     string
		priority int    // of the instance that goes; the other has 100
		mark     uint32 // likewise; 0x10000000
		script   string // before
		remove   string
	}{
		{"a gate", 200, 0x30000000, "", "gate"},
		{"a home behind", 200, 0x30000000, "", "going"},
		{"a home before", 50, 0x30000000, "", "going"},
		{"a home with the same marks", 200, 0x10000000, "", "going"},
		{"a home whose interface has gone", 200, 0x30000000, "link del going", "going"},
		{"a home before whose interface has gone", 50, 0x30000000, "link del going", "going"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ns := newHost(t, "link add staying type bridge\nlink add gate type bridge")
			bring(t, ns, home("staying", 6700, 100, 0x10000000))
			before := dumpOf(t, ns)
			ip(t, ns, "link add going type bridge")
			if tt.remove == "going" {
				bringBeside(t, ns, "going", tt.priority, tt.mark)
			}
			ip(t, ns, tt.script)
			removeAll(t, ns, tt.remove)
			if tt.script == "" {
				ip(t, ns, "link del going")
			}
			if after := dumpOf(t, ns); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// bringBeside sets up a second instance. It is not compared with what the
// namespace has: that would take the first one's rules as drift.
func bringBeside(t testing.TB, ns *netns.Namespace, name string, priority int, mark uint32) {
	t.Helper()
	want := home(name, 6701, priority, mark)
	within(t, ns, func() error {
		r, ctx := open(t), t.Context()
		if err := r.SetLink(ctx, name, want.MTU); err != nil {
			return err
		}
		for _, s := range want.Sysctls {
			if err := r.SetSysctl(ctx, s); err != nil {
				return err
			}
		}
		for _, route := range want.Routes {
			if err := r.ReplaceRoute(ctx, route); err != nil {
				return err
			}
		}
		for _, rule := range want.Rules {
			if err := r.AddRule(ctx, rule); err != nil {
				return err
			}
		}
		return nil
	})
}
