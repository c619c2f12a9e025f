package daemon

import (
	"fmt"
	"time"
)

const settingUp = "setting this machine up"

// summary says in a line how the gate is; nothing if that would mean to wait,
// for a slow disk perhaps.
func (g *gate) summary() string {
	if !g.mu.TryLock() {
		return ""
	}
	defer g.mu.Unlock()
	switch {
	case len(g.problems) > 0:
		return g.problems[0]
	case !g.ready.all():
		return settingUp
	}
	heard := g.silences.heard(time.Now())
	return fmt.Sprintf("%s, %s", count(heard, len(g.registry.Homes)), forwards(len(gateForwards(g.registry))))
}

// count says how many homes are connected.
func count(heard, homes int) string {
	if homes == 0 {
		return "no home yet"
	}
	return fmt.Sprintf("%d of %d homes connected", min(heard, homes), homes)
}

// summary says in a line how the home is; nothing if that would mean to wait.
func (h *home) summary() string {
	up, _, why := h.keep.state()
	rival := h.keep.hasRival()
	if !h.mu.TryLock() {
		return ""
	}
	defer h.mu.Unlock()
	switch {
	case len(h.problems) > 0:
		return h.problems[0]
	case !h.ready.all():
		return settingUp
	case up && rival:
		return "tunnel up, but another machine has a copy of this home's key: gatelodge status"
	case up:
		return "tunnel up, " + forwards(len(h.config.Forwards))
	case why != "":
		return "no tunnel yet, keeps trying: " + why
	default:
		return "no tunnel yet: the gate does not answer, keeps trying"
	}
}

// forwards says how many forwards there are.
func forwards(n int) string {
	if n == 1 {
		return "1 forward"
	}
	return fmt.Sprintf("%d forwards", n)
}
