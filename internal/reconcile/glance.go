package reconcile

import (
	"context"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

const (
	// glancePause is between two looks at the tunnel, and at most between two
	// readings of the counters where there are few.
	glancePause = 2 * time.Second
	// countShare bounds what the counters cost: the pause after reading them is
	// so many times as long as that took, and longestCount at most: who looks at a
	// flood on a small machine is to see it.
	countShare   = 50
	longestCount = 20 * time.Second
)

// NewGlances returns the task that keeps Seen young between two rounds: what the
// peers have sent, what was counted, and what the owner has agreed to. A report
// waits for neither.
func (r *Reconciler) NewGlances(events event.Recorder) *supervise.Loop {
	return supervise.NewLoop("glances", glancePause, events, r.glance)
}

func (r *Reconciler) glance(ctx context.Context) error {
	r.mu.Lock()
	want, due := r.want, time.Since(r.counted) >= min(countShare*r.counting, longestCount)
	r.mu.Unlock()
	if want == nil {
		return nil
	}
	r.others.ReadAgreed()
	observed, err := r.machine.Glance(ctx, *want)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.seen.Observed, r.seen.At = observed, time.Now()
	r.seen.peers = r.tally.hear(r.seen.At, observed.WireGuard.Peers, want.WireGuard.Peers)
	r.mu.Unlock()
	if !due {
		return nil
	}
	return r.count(ctx, *want)
}

// count reads the counters.
func (r *Reconciler) count(ctx context.Context, want plan.State) error {
	began := time.Now()
	counted, err := r.machine.Counters(ctx, want.Firewall.Table)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counting, r.counted = time.Since(began), time.Now()
	if err != nil {
		return err
	}
	r.seen.Counted, r.seen.visited = counted, r.tally.count(r.counted, counted)
	return nil
}
