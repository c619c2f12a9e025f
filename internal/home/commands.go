package home

import (
	"context"
	"time"

	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/reconcile"
)

// Commands is a home as the commands of its machine see it: local.Daemon.
type Commands struct {
	*Home
	stop func()
}

// Stop implements local.Daemon.
func (c Commands) Stop() { c.stop() }

// verdictTime is how long Apply waits for the gate's answer.
const verdictTime = 8 * time.Second

// Apply implements local.Daemon.
func (c Commands) Apply(ctx context.Context, _ local.ApplyRequest) (local.ApplyResponse, error) {
	before := plan.HomeChoices(c.link.configuration())
	if err := c.link.reload(); err != nil {
		return local.ApplyResponse{}, err
	}
	c.link.push.set(false)
	changes, err := c.link.reconciler.Round(ctx)
	if err != nil {
		return local.ApplyResponse{}, err
	}
	c.link.push.await(ctx, verdictTime)
	return local.ApplyResponse{Changes: reconcile.Edited(before, plan.HomeChoices(c.link.configuration()), changes), Report: c.Report(ctx)}, nil
}

// Leave implements local.Leaver. What the gate publishes comes back with the next
// Apply, or with the next start.
func (c Commands) Leave(ctx context.Context) error { return c.link.push.leave(ctx, verdictTime) }

// Plan returns what would be changed if the file were applied now.
func (h *Home) Plan(ctx context.Context) (response local.PlanResponse, err error) {
	l := h.link
	c, err := ReadConfig(l.paths)
	if err != nil {
		return response, err
	}
	if err := plan.SameInstance(l.configuration().Tunnel.Interface, c.Tunnel.Interface); err != nil {
		return response, err
	}
	err = l.reconciler.Alone(ctx, func() error {
		facts, err := l.gather(ctx, c)
		if err != nil {
			return err
		}
		l.mu.Lock()
		want := l.wantWith(c, facts)
		l.mu.Unlock()
		response.Changes, response.Fresh, err = l.reconciler.Preview(ctx, want, plan.HomeChoices(c))
		return err
	})
	return response, err
}
