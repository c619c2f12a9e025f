package firewall_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// BenchmarkUpdate measures what a round costs that changes one of many forwards,
// from what is wanted to what is verified, and one that changes nothing.
//
//	go test ./internal/host/firewall -run '^$' -bench Update
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{1, 500, 10000} {
		f, ns, ctx := open(b), netnstest.New(b, fmt.Sprint("update", n)), context.Background()
		one, other := manyForwards(n), manyForwards(n+1)
		limited := manyForwards(n)
		limited.Gate.Forwards[n/2].Limit.Connections = 7
		inside(b, ns, func() {
			must(b, f.Apply(ctx, one))
			observe(b, f, one)
		})
		for _, c := range []struct {
			name   string
			states []plan.Firewall
		}{{"nothing", []plan.Firewall{one}}, {"forward", []plan.Firewall{other, one}}, {"limit", []plan.Firewall{limited, one}}} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				inside(b, ns, func() {
					before := processorTime(b)
					defer func() { b.ReportMetric(float64(processorTime(b)-before)/1e6/float64(b.N), "ms-processor/op") }()
					for i := 0; b.Loop(); i++ {
						want := c.states[i%len(c.states)]
						if seen := observe(b, f, want); !seen.Current {
							must(b, f.Apply(ctx, want))
						}
						if seen := observe(b, f, want); !seen.Current || seen.Drift != nil {
							b.Fatalf("%+v", seen)
						}
					}
				})
			})
		}
	}
}

// processorTime is what this process and those that it has run have used.
func processorTime(b *testing.B) (sum time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		must(b, unix.Getrusage(who, &u))
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// manyForwards is a gate with so many forwards of one port each.
func manyForwards(n int) plan.Firewall {
	want := gateWant()
	want.Gate.Connections = smallRoom
	for i := range n {
		f := toHome(uint32(i+1), fmt.Sprintf("%d/udp", 10000+i))
		want.Gate.Forwards = append(want.Gate.Forwards, f)
	}
	return want
}
