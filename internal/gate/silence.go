package gate

import (
	"context"
	"time"
)

// renewSilent renews the peers that have fallen silent: homes, and invites,
// whose one-time keys are WireGuard keys as well. It does not wait for rounds,
// which other homes can ask for without a pause: the device makes one change
// after the other.
func (g *Gate) renewSilent(ctx context.Context) error {
	observed, err := g.machine.Peers(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	due := g.silences.Due(now, observed)
	g.presence.Tell(now, g.memory.now().Registry.Homes, g.silences)
	if len(due) == 0 {
		return nil
	}
	g.log.Debug("renewing silent peers", "peers", len(due))
	return g.machine.Renew(ctx, g.memory.now().Plan(now), due)
}
