package plan

import "fmt"

// SameInstance refuses to rename the interface under a running daemon: what
// stands under the old name would be forgotten.
func SameInstance(running, wanted string) error {
	if running == wanted {
		return nil
	}
	return fmt.Errorf("the interface is %s and cannot become %s while the daemon runs; run gatelodge down before the change, and gatelodge up after it", running, wanted)
}
