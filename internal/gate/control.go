package gate

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/counted"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/store"
)

// channel is a gate as its homes see it: control.Gate and control.Examiner.
type channel struct{ *Gate }

// Enrol implements control.Gate. The home is on disk, and its key is let in,
// before it is told so.
func (c channel) Enrol(ctx context.Context, from netip.Addr, secret key.Secret, public key.Public) (control.EnrolResponse, error) {
	var home registry.Home
	err := c.memory.change(func(r *registry.State) (err error) {
		home, err = r.Redeem(c.memory.state.Identity(), secret, from, public, time.Now())
		return err
	})
	if err != nil {
		c.events.Record(event.EnrolmentRefused{From: from, Why: err.Error()})
		return control.EnrolResponse{}, toPeer(err)
	}
	if _, err := c.reconciler.Round(ctx); err != nil {
		return control.EnrolResponse{}, err
	}
	c.events.Record(event.Enrolled{Home: home.Name, Key: home.PublicKey})
	return c.memory.now().Place(home), nil
}

// Push implements control.Gate.
func (c channel) Push(ctx context.Context, from netip.Addr, generation uint64, wanted []forward.Published) (control.PushResponse, error) {
	var verdicts []registry.Verdict
	var name string
	err := c.memory.change(func(r *registry.State) error {
		h, err := tenant(r, from)
		if err != nil {
			return err
		}
		name = h.Name
		verdicts, err = r.Push(h.Name, generation, wanted, c.memory.state.Policies()(h.Name))
		return err
	})
	if err != nil {
		return control.PushResponse{}, toPeer(err)
	}
	if _, err := c.reconciler.Round(ctx); err != nil {
		c.events.Record(event.ForwardsDelayed{Home: name, Why: err.Error()})
		return control.PushResponse{}, err
	}
	c.accepted.Do(name, time.Now(), func(unsaid int) {
		c.events.Record(event.ForwardsAccepted{Home: name, Generation: generation, Forwards: len(wanted), Unsaid: unsaid})
	})
	return control.PushResponse{
		Version:    control.Version,
		Generation: generation,
		Verdicts:   toWire(verdicts),
		Public:     c.memory.now().Public(),
	}, nil
}

// State implements control.Gate.
func (c channel) State(ctx context.Context, from netip.Addr) (control.StateResponse, error) {
	now := c.memory.now()
	h, err := tenant(now.Registry, from)
	if err != nil {
		return control.StateResponse{}, toPeer(err)
	}
	answer := control.StateResponse{
		Version:    control.Version,
		Name:       h.Name,
		Generation: h.Generation,
		Digest:     control.Digest(h.Wanted()),
		Verdicts:   counted.Tell(toWire(h.Verdicts()), forwards(h, c.reconciler.Seen()), time.Now()),
		Public:     now.Public(),
		MTU:        plan.GateMTU(now.Config, now.Facts),
	}
	peers, err := c.machine.Peers(ctx)
	if err != nil {
		return control.StateResponse{}, err
	}
	if i := slices.IndexFunc(peers, func(p plan.ObservedPeer) bool { return p.PublicKey == h.PublicKey }); i >= 0 {
		answer.Observed = peers[i].Endpoint
	}
	return answer, nil
}

// tenant finds the home that speaks. WireGuard vouches for the address.
func tenant(r *registry.State, from netip.Addr) (registry.Home, error) {
	h, found := r.HomeByAddress(from)
	if !found {
		return registry.Home{}, &control.Error{Code: control.UnknownHome, Message: "this gate has no home at " + from.String() + "; join it with an invite"}
	}
	return h, nil
}

// toPeer makes a refusal of the registry one that the peer may read. Other
// errors stay here.
func toPeer(err error) error {
	if refused, ok := errors.AsType[*registry.Error](err); ok {
		return &control.Error{Code: control.Code(refused.Code), Message: refused.Message}
	}
	if reason := store.Trouble(err); reason != "" {
		return &control.Error{Code: control.Internal, Message: "the gate cannot remember the change, so it does not make it: " + reason}
	}
	return err
}

func toWire(verdicts []registry.Verdict) []control.Verdict {
	wire := make([]control.Verdict, len(verdicts))
	for i, v := range verdicts {
		wire[i] = control.Verdict{Name: v.Name, State: control.Refused, Reason: v.Reason, Notes: v.Notes}
		if v.Granted {
			wire[i].State = control.Granted
		}
	}
	return wire
}
