package gate

import (
	"context"
	"time"

	"github.com/gatelodge/gatelodge/internal/gate/state"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/reconcile"
)

// Commands is a gate as the commands of its machine see it: a local.Gatekeeper, too.
type Commands struct {
	*Gate
	stop func()
}

// Stop implements local.Daemon.
func (c Commands) Stop() { c.stop() }

// Plan implements local.Daemon.
func (c Commands) Plan(ctx context.Context) (local.PlanResponse, error) { return c.Gate.Plan(ctx) }

// Apply implements local.Daemon.
func (c Commands) Apply(ctx context.Context, req local.ApplyRequest) (local.ApplyResponse, error) {
	if err := checkConfirmTime(req.ConfirmWithin); err != nil {
		return local.ApplyResponse{}, err
	}
	before := c.memory.now().Choices()
	if err := c.takeConfig(ctx, req); err != nil {
		return local.ApplyResponse{}, err
	}
	changes, err := c.reconciler.Round(ctx)
	if err != nil {
		c.trials().dropTrial() // what is on trial has not come into force
	}
	return local.ApplyResponse{Changes: reconcile.Edited(before, c.memory.now().Choices(), changes), Report: c.Report(ctx)}, err
}

// Confirm implements local.Gatekeeper.
func (c Commands) Confirm(ctx context.Context, req local.ConfirmRequest) (local.ConfirmResponse, error) {
	if err := c.trials().confirm(req); err != nil {
		return local.ConfirmResponse{}, err
	}
	_, err := c.reconciler.Round(ctx)
	return local.ConfirmResponse{Report: c.Report(ctx)}, err
}

// Plan returns what would be changed if the file were applied now.
func (g *Gate) Plan(ctx context.Context) (response local.PlanResponse, err error) {
	c, err := g.memory.readConfig()
	if err != nil {
		return response, err
	}
	err = g.reconciler.Alone(ctx, func() error {
		facts, err := g.machine.Facts(ctx, c.Tunnel.Interface)
		if err != nil {
			return err
		}
		now := g.memory.now()
		if err := now.Acceptable(c, facts); err != nil {
			return err
		}
		would := now.With(c, facts, time.Now())
		changes, fresh, err := g.reconciler.Preview(ctx, would.Plan(time.Now()), would.Choices())
		response = local.PlanResponse{Changes: changes, Risks: plan.WantedInput(c).Closes(now.Input), Ends: state.Ends(now.Registry, would.Registry), Fresh: fresh}
		return err
	})
	return response, err
}
