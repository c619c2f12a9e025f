package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Enrol implements control.Gate. The home is on disk, and its key is let in,
// before it is told so.
func (g *gate) Enrol(ctx context.Context, from netip.Addr, secret key.Secret, public key.Public) (control.EnrolResponse, error) {
	var home registry.Home
	err := g.change(func(r *registry.State) (err error) {
		home, err = r.Redeem(g.identity(), secret, from, public, time.Now())
		return err
	})
	if err != nil {
		g.log.Warn("refused an enrolment", "from", from, "error", err)
		return control.EnrolResponse{}, toPeer(err)
	}
	if _, err := g.reconcile(); err != nil {
		return control.EnrolResponse{}, err
	}
	g.log.Info("enrolled", "home", home.Name, "key", home.PublicKey)
	return g.place(home), nil
}

// place is what a home has to know of its place in the tunnel.
func (g *gate) place(h registry.Home) control.EnrolResponse {
	g.mu.Lock()
	defer g.mu.Unlock()
	gate := plan.GateAddresses(g.config)
	answer := control.EnrolResponse{
		Version:  control.Version,
		Name:     h.Name,
		Address4: h.Address4,
		Gate4:    gate[0],
		Prefix4:  g.config.Tunnel.Prefix4.Masked(),
	}
	if h.Address6.IsValid() && len(gate) > 1 {
		answer.Address6, answer.Gate6, answer.Prefix6 = h.Address6, gate[1], g.config.Tunnel.Prefix6.Masked()
	}
	return answer
}

// Push implements control.Gate.
func (g *gate) Push(ctx context.Context, from netip.Addr, generation uint64, wanted []forward.Published) (control.PushResponse, error) {
	var verdicts []registry.Verdict
	var name string
	err := g.change(func(r *registry.State) error {
		h, err := tenant(r, from)
		if err != nil {
			return err
		}
		name = h.Name
		verdicts, err = r.Push(h.Name, generation, wanted, g.policies()(h.Name))
		return err
	})
	if err != nil {
		return control.PushResponse{}, toPeer(err)
	}
	if _, err := g.reconcile(); err != nil {
		g.log.Error("a push is accepted but not carried out yet", "home", name, "error", err)
		return control.PushResponse{}, err
	}
	g.accepted.do(name, time.Now(), func(unsaid int) {
		g.log.Info("accepted forwards", "home", name, "generation", generation, "forwards", len(wanted), "unsaid", unsaid)
	})
	return control.PushResponse{
		Version:    control.Version,
		Instance:   g.instance,
		Generation: generation,
		Verdicts:   toWire(verdicts),
		Public:     g.public(),
	}, nil
}

// State implements control.Gate.
func (g *gate) State(ctx context.Context, from netip.Addr) (control.StateResponse, error) {
	g.mu.Lock()
	h, err := tenant(g.registry, from)
	policy := g.policies()(h.Name)
	mtu := plan.GateMTU(g.config, g.facts)
	g.mu.Unlock()
	if err != nil {
		return control.StateResponse{}, toPeer(err)
	}
	answer := control.StateResponse{
		Version:    control.Version,
		Name:       h.Name,
		Instance:   g.instance,
		Generation: h.Generation,
		Digest:     control.Digest(h.Wanted()),
		Verdicts:   toWire(h.Verdicts()),
		Public:     g.public(),
		Policy:     control.Policy{MaxForwards: policy.MaxForwards},
		MTU:        mtu,
	}
	peers, err := g.host.Peers(ctx)
	if err != nil {
		return control.StateResponse{}, err
	}
	for _, p := range peers {
		if p.PublicKey == h.PublicKey {
			answer.Observed = p.Endpoint
		}
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

// public returns where visitors arrive.
func (g *gate) public() []netip.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := g.config.Public.Addresses
	if len(list) == 0 {
		list = g.facts.Public
	}
	return asVisitorsKnow(list, g.config.Public.Endpoints)
}

// toPeer makes a refusal of the registry one that the peer may read. Other
// errors stay here.
func toPeer(err error) error {
	if refused, ok := errors.AsType[*registry.Error](err); ok {
		return &control.Error{Code: control.Code(refused.Code), Message: refused.Message}
	}
	if reason := diskTrouble(err); reason != "" {
		return &control.Error{Code: control.Internal, Message: "the gate cannot remember the change, so it does not make it: " + reason}
	}
	return err
}

// diskTrouble says what is wrong with the disk, if that is what an error is
// about. The homes may know: they cannot mend it, but tell its owner.
func diskTrouble(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "its disk is full"
	case errors.Is(err, syscall.EROFS):
		return "its disk is read-only"
	case errors.Is(err, syscall.EIO):
		return "its disk reports errors"
	}
	return ""
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

// controlServer answers homes and pings, inside the tunnel only.
type controlServer struct{ gate *gate }

func newControlServer(g *gate) *loop {
	s := &controlServer{g}
	// A listener that fails, because its address is gone for instance, is made
	// again.
	return newLoop("control channel", time.Second, g.log, s.serve)
}

func (s *controlServer) serve(ctx context.Context) error {
	addr := s.address()
	lc := net.ListenConfig{Control: freebind}
	// Multipath TCP is off: it would be a way around what binds a connection
	// to its address.
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot listen for homes: %w", err)
	}
	datagrams, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot listen for pings and invites: %w", err), l.Close())
	}
	s.gate.ready.reach(controlListens)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := control.NewServer(s.gate, s.gate.log)
	done := make(chan error, 1)
	go func() {
		defer cancel() // one without the other is no control channel
		done <- server.ServeDatagrams(ctx, datagrams, s.gate.runs)
	}()
	go func() {
		defer cancel()
		s.untilMoved(ctx, addr)
	}()
	err = server.Serve(ctx, l)
	cancel()
	return errors.Join(err, <-done)
}

// untilMoved returns once the configuration has another address for the control
// channel.
func (s *controlServer) untilMoved(ctx context.Context, addr string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for s.address() == addr {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// freebind lets a socket listen on the tunnel's address whether it is there
// yet or not (IP_FREEBIND in ip(7)).
func freebind(_, _ string, c syscall.RawConn) error {
	var err error
	if ctlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	}); ctlErr != nil {
		return ctlErr
	}
	return os.NewSyscallError("setsockopt IP_FREEBIND", err)
}

func (s *controlServer) address() string {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	c := s.gate.config
	return net.JoinHostPort(plan.GateAddresses(c)[0].String(), strconv.Itoa(int(c.Tunnel.ControlPort)))
}
