package reconcile

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/examine"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// stateTime is how long a round under way may take before a doctor does not wait
// for it.
const stateTime = 3 * time.Second

// Examine looks at the whole machine for a doctor. It keeps away from a round that
// is half way; one that hangs does not keep it.
func (r *Reconciler) Examine(ctx context.Context, want plan.State) (seen examine.Seen, err error) {
	waiting, cancel := context.WithTimeout(ctx, stateTime)
	defer cancel()
	err = r.Alone(waiting, func() error {
		now := Look(ctx, r.machine, want)
		seen = examine.Seen{
			MTU: now.Observed.Routing.MTU, Problems: now.Problems, Forwarding: needsForwarding(want),
			IPv6: slices.ContainsFunc(now.Observed.Routing.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() }),
		}
		for _, step := range now.Drift {
			seen.Drift = append(seen.Drift, examine.DriftOf(step.Change()))
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		err = errors.New("the daemon is busy with a change")
	}
	return seen, err
}

func needsForwarding(want plan.State) bool {
	return slices.Contains(want.Routing.Sysctls, plan.Sysctl{Name: "net.ipv4.ip_forward", Value: "1"})
}
