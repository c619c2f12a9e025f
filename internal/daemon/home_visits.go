package daemon

import (
	"fmt"
	"slices"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// settle ends the connections of visitors that the new rules no longer carry,
// or lead elsewhere. The caller holds apply.
func (h *home) settle(changes []plan.Change, want *plan.HomeFirewall) error {
	loaded := slices.ContainsFunc(changes, func(c plan.Change) bool { _, ok := c.(plan.LoadFirewall); return ok })
	if !loaded && h.carried != nil {
		return nil
	}
	if err := h.host.EndVisits(want.Addresses, h.carried, want.Forwards); err != nil {
		return fmt.Errorf("cannot end the connections to what is no longer published: %w", err)
	}
	h.carried = append([]plan.HomeForward{}, want.Forwards...)
	return nil
}
