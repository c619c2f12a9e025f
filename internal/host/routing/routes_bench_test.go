package routing

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// newRouter is a machine with n routes to parts of the internet, as one that
// speaks BGP has them.
func newRouter(t testing.TB, n int) *netns.Namespace {
	t.Helper()
	ns := newHost(t, `
		link add eth0 type bridge
		addr add 198.51.100.2/24 dev eth0
		link set eth0 up
		route add default via 198.51.100.1`)
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "route add %d.%d.%d.0/24 via 198.51.100.1 proto bird\n", 20+i>>16, i>>8&0xff, i&0xff)
	}
	ip(t, ns, lines.String())
	return ns
}

// BenchmarkRound looks once at a machine with many routes, as each round of
// the daemon does.
func BenchmarkRound(b *testing.B) {
	for _, n := range []int{0, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ns := newRouter(b, n)
			within(b, ns, func() error {
				r := open(b)
				for b.Loop() {
					if _, err := r.Facts(b.Context(), "gatelodge"); err != nil {
						return err
					}
					if _, err := r.Observe(b.Context(), plan.Routing{Interface: "gatelodge"}); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}
