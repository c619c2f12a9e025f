package reconcile

import (
	"context"
	"errors"
	"sync"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// rounds lets all who wait for the machine to be brought to the wanted state
// share the work. A round serves everybody who asked before it began: ten pushes
// that come while one is carried out cost one round more, not ten.
type rounds struct {
	run func() ([]plan.Change, error)

	mu   sync.Mutex
	next *round // that has been asked for and has not begun; nil: none
}

// round is one of them. It is read once done is closed.
type round struct {
	done    chan struct{}
	changes []plan.Change
	err     error
}

// newRounds returns rounds of run, which calls begin once what it does takes in
// all that has been asked for.
func newRounds(run func() ([]plan.Change, error)) *rounds { return &rounds{run: run} }

// join waits for the next round, and returns what it has done. Who asks first
// does the work for the others, who need not wait for longer than they want to.
func (r *rounds) join(ctx context.Context) ([]plan.Change, error) {
	n, first := r.ask()
	if first {
		defer r.end(n)
		n.changes, n.err = r.run()
		return n.changes, n.err
	}
	select {
	case <-n.done:
		return n.changes, n.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask returns the next round, and whether nobody has asked for it before.
func (r *rounds) ask() (n *round, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next != nil {
		return r.next, false
	}
	r.next = &round{done: make(chan struct{}), err: errors.New("the round has not come to its end")}
	return r.next, true
}

// end lets go of those who wait for the round. One that has not begun, because
// it panicked, serves nobody later.
func (r *rounds) end(n *round) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == n {
		r.next = nil
	}
	close(n.done)
}

// begin says that all who ask from now on need another round.
func (r *rounds) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = nil
}
