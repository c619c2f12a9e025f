package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/reach"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// Joined is what a home is after joining.
type Joined struct {
	Name      string
	Addresses []netip.Addr // in the tunnel
}

// UnreachableError means that no gate answered.
type UnreachableError struct {
	Tried []string // addresses, and names that could not be looked up with the reason
	Hint  string
}

func (e *UnreachableError) Error() string {
	return "no answer from the gate at " + strings.Join(e.Tried, ", ")
}

// Options say which instance joins.
type Options struct {
	Paths layout.Paths
	Log   *slog.Logger
	Owner *store.Owner // to whom folders belong that have to be made; nil: the user who runs this
}

// Join redeems an invite: it makes this home's key, hands the public half to
// the gate through a tunnel of the invite's own, and remembers what the gate
// says. The machine's network is not touched. If the answer is lost, the same
// invite can be used again from here, because the key is on disk before the
// gate hears of it.
func Join(ctx context.Context, o Options, invite key.Invite) (Joined, error) {
	if err := refuseJoined(o.Paths, invite); err != nil {
		return Joined{}, err
	}
	if err := host.CanRun(ctx); err != nil {
		return Joined{}, err
	}
	facts, err := host.FactsNow(ctx)
	if err != nil {
		return Joined{}, err
	}
	// Before anything is changed, here or on the gate.
	if err := refuseOverlapping(invite.Tunnel(), facts); err != nil {
		return Joined{}, err
	}
	st, err := store.Open(o.Paths.State(), o.Owner)
	if err != nil {
		return Joined{}, err
	}
	lock, err := st.Lock()
	if err != nil {
		return Joined{}, err
	}
	defer lock.Unlock()
	memory, err := prepare(st, o.Paths, invite)
	if err != nil {
		return Joined{}, err
	}
	if memory.Joined != nil {
		return Joined{Name: memory.Joined.Name, Addresses: memory.Joined.Addresses}, nil
	}
	step.At("join: key remembered")
	answer, err := redeem(ctx, o, invite, memory.PrivateKey.Public())
	if err != nil {
		return Joined{}, err
	}
	step.At("join: enrolled")
	if facts, err = host.FactsNow(ctx); err != nil { // the networks of now
		return Joined{}, err
	}
	return settle(st, memory, invite, answer, facts)
}

// refuseJoined says of a machine that is a home already that it is, before anything
// else is looked at: its own tunnel would be taken for somebody else's.
func refuseJoined(p layout.Paths, invite key.Invite) error {
	joined, err := Of(p)
	if err != nil {
		return err
	}
	return Memory{Joined: joined}.refuse(p, invite)
}

// refuse returns why the machine that remembers this cannot join, nil if it can: it is
// no home, or its join has got the gate's answer and ended before there was a
// configuration file.
func (m Memory) refuse(p layout.Paths, invite key.Invite) error {
	if m.Joined == nil {
		return nil
	}
	if _, err := p.Role(); m.Joined.GatePublicKey == invite.Gate && errors.Is(err, layout.ErrNoRole) {
		return nil
	}
	return &local.RefusedError{
		Message: fmt.Sprintf("this machine is the home %s of a gate already", m.Joined.Name),
		Hint:    "to join another gate, leave that one first: gatelodge leave",
	}
}

// settle remembers the place that the gate has given, if the invite covers it.
func settle(st *store.Store, memory Memory, invite key.Invite, answer control.EnrolResponse, facts plan.Facts) (Joined, error) {
	joined, err := newMembership(invite, answer, facts)
	if err != nil {
		return Joined{}, err
	}
	memory.Joined = joined
	if err := st.Save(StoredName, memory); err != nil {
		return Joined{}, fmt.Errorf("%w; the gate has this home already: fix that and join again with the same invite", err)
	}
	return Joined{Name: joined.Name, Addresses: joined.Addresses}, nil
}

// prepare puts this home's key on disk, before the gate hears of it. What it
// returns is joined already where an earlier join has got the gate's answer, and
// ended before there was a configuration file.
func prepare(st *store.Store, p layout.Paths, invite key.Invite) (Memory, error) {
	var m Memory
	loaded, err := st.Load(StoredName, &m)
	if err != nil {
		return Memory{}, err
	}
	if m.Joined != nil {
		return m, m.refuse(p, invite)
	}
	if loaded.Found && !m.PrivateKey.IsZero() {
		return m, nil
	}
	k, err := key.NewPrivate()
	if err != nil {
		return Memory{}, err
	}
	m = Memory{PrivateKey: store.PrivateKey{Private: k}}
	return m, st.Save(StoredName, m)
}

// patience is how long join waits at each of the gate's addresses: enough for
// three handshakes.
const patience = 17 * time.Second

// redeem tries the gate's addresses in turn until one answers.
func redeem(ctx context.Context, o Options, invite key.Invite, public key.Public) (control.EnrolResponse, error) {
	var tried []string
	for _, endpoint := range invite.Endpoints {
		addrs, err := reach.Resolve(ctx, endpoint)
		if err != nil {
			tried = append(tried, fmt.Sprintf("%s (%v)", endpoint, err))
		}
		usable := reach.Usable(ctx, net.DefaultResolver, addrs, leadsTo)
		if len(usable) == 0 && len(addrs) > 0 {
			tried = append(tried, fmt.Sprintf("%s (%v)", endpoint, reach.NoRoute(addrs)))
		}
		for _, addr := range usable {
			answer, err := redeemAt(ctx, addr, invite, public)
			if err == nil || errors.As(err, new(*control.Error)) || errors.Is(err, control.ErrOlderGate) || ctx.Err() != nil {
				return answer, refusedByGate(err)
			}
			o.Log.Debug("no answer", "endpoint", addr, "error", err)
			tried = append(tried, addr.String())
		}
	}
	return control.EnrolResponse{}, &UnreachableError{
		Tried: slices.Compact(tried),
		Hint:  "check that the gate runs (there: gatelodge status), that its provider's firewall lets this UDP port in, and that the invite is from that gate, has not ended and was not revoked",
	}
}

// leadsTo reports whether this machine has a route to an address: without one
// the kernel refuses to connect a socket, which sends nothing.
func leadsTo(ctx context.Context, addr netip.Addr) bool {
	const discard = 9 // any port will do
	c, err := new(net.Dialer).DialContext(ctx, "udp", netip.AddrPortFrom(addr, discard).String())
	if err != nil {
		return false
	}
	_ = c.Close() // nothing was sent
	return true
}

// refusedByGate turns the gate's refusal into one of ours.
func refusedByGate(err error) error {
	if errors.Is(err, control.ErrOlderGate) {
		return &local.RefusedError{
			Message: "the gate is there and does not answer the invite: it runs an older gatelodge than this machine, or has too much to do",
			Hint:    "update gatelodge on the gate, then join again with the same invite",
		}
	}
	e, refused := errors.AsType[*control.Error](err)
	if !refused {
		return err
	}
	return &local.RefusedError{Message: "the gate refuses: " + e.Message}
}

// redeemAt redeems the invite at one address of the gate.
func redeemAt(ctx context.Context, endpoint netip.AddrPort, invite key.Invite, public key.Public) (control.EnrolResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tunnel, err := host.OpenTunnel(ctx, host.TunnelConfig{
		PrivateKey: invite.Secret.Key(),
		Peer:       invite.Gate,
		Endpoint:   endpoint,
		Address:    invite.Address,
		To:         netip.AddrPortFrom(invite.GateAddress, invite.ControlPort),
	})
	if err != nil {
		return control.EnrolResponse{}, err
	}
	defer tunnel.Close()
	return control.Enrol(ctx, tunnel, invite.Secret, public)
}
