package reconcile

import (
	"fmt"
	"slices"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Visits is what a home knows of the connections that visitors have.
type Visits struct {
	carried []plan.HomeForward // what they were last settled for; nil: unknown
	settled bool               // since the rules were loaded
}

// Settle ends the connections of visitors that the new rules no longer carry,
// or lead elsewhere, unless those could not be applied. What fails is tried
// again in the next round: the rules alone let visitors no further.
func (v *Visits) Settle(m host.Flows, steps []plan.Step, want *plan.HomeFirewall, failed error) error {
	if slices.ContainsFunc(steps, func(s plan.Step) bool { _, ok := s.(plan.LoadFirewall); return ok }) {
		v.settled = false
	}
	if failed != nil || v.settled {
		return nil
	}
	if err := m.EndVisits(want.Addresses, v.carried, want.Forwards); err != nil {
		return fmt.Errorf("cannot end the connections to what is no longer published: %w", err)
	}
	v.carried, v.settled = append([]plan.HomeForward{}, want.Forwards...), true
	return nil
}
