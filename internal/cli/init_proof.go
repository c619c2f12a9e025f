package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/store"
)

// proofName is the name of the forward that stands while the way is proved.
const proofName = "init-proof"

// prove has this machine visit itself: out by its own router, in at the gate's
// public address, through the tunnel, and back. Its router gives the packets
// an address of the internet, so to the gate they are any visitor's. What the
// gate itself sends would not do: it passes no prerouting.
func (s *setup) prove(ctx context.Context) error {
	gate, why, err := s.visitable(ctx)
	if err != nil {
		return err
	}
	if why != "" {
		s.printf("  not tried: %s; after expose, try it from a telephone's network\n", why)
		return nil
	}
	const tries = 3 // a port may be reserved, or another home's
	var reason string
	for range tries {
		if reason, err = s.proveOnce(ctx, gate); err != nil || reason == "" {
			return err
		}
	}
	s.printf("  not tried: the gate does not let this home publish a port for it: %s\n", reason)
	return nil
}

// visitable returns the gate's address, or why this machine cannot be a
// visitor of it.
func (s *setup) visitable(ctx context.Context) (gate netip.Addr, why string, err error) {
	r, err := s.client().Status(ctx)
	if err != nil {
		return netip.Addr{}, "", err
	}
	if r.Tunnel.Peer == nil || !r.Tunnel.Peer.Endpoint.IsValid() {
		return netip.Addr{}, "", fail(exitFailed, "gatelodge status", "the daemon does not say where the gate is")
	}
	endpoint := r.Tunnel.Peer.Endpoint
	gate = endpoint.Addr().Unmap()
	// Connecting a UDP socket chooses the way, and sends nothing.
	c, err := new(net.Dialer).DialContext(ctx, "udp", endpoint.String())
	if err != nil {
		return netip.Addr{}, "", err
	}
	own, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err := errors.Join(err, c.Close()); err != nil {
		return netip.Addr{}, "", err
	}
	switch {
	case !host.Routable(gate):
		why = fmt.Sprintf("the gate's address %s is not one of the internet, so neither would a visitor's be", gate)
	case host.Routable(own.Addr().Unmap()):
		why = fmt.Sprintf("this machine has the public address %s itself, and never lets packets from its own address in by the tunnel", own.Addr().Unmap())
	}
	return gate, why, nil
}

// proveOnce returns why the gate refused the port, if it did.
func (s *setup) proveOnce(ctx context.Context, gate netip.Addr) (reason string, err error) {
	w, err := listenForProof()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	before, err := s.readHome()
	if err != nil {
		return "", err
	}
	// Also when the owner stops this: what is published must not stay so.
	defer func() { err = errors.Join(err, s.restore(context.WithoutCancel(ctx), before)) }()
	f, err := s.publishProof(ctx, before, w.port)
	if err != nil || f.State == status.Refused {
		return f.Reason, err
	}
	if f.State != status.Granted {
		return "", fail(exitFailed, "gatelodge status", "the gate does not answer whether it forwards a port")
	}
	return "", s.visit(ctx, gate, w)
}

func (s *setup) publishProof(ctx context.Context, before []byte, port uint16) (status.Forward, error) {
	after, err := config.AddForward(before, config.NewForward{Name: proofName, Ports: []string{fmt.Sprintf("%d/tcp", port)}})
	if err != nil {
		return status.Forward{}, err
	}
	if err := store.ReplaceFile(s.paths().ConfigFile(plan.Home), after); err != nil {
		return status.Forward{}, err
	}
	r, err := s.client().Apply(ctx, daemon.ApplyRequest{})
	if err != nil {
		return status.Forward{}, err
	}
	f, ok := findForward(r.Report, proofName)
	if !ok {
		return f, fail(exitFailed, "gatelodge status", "the daemon does not know the forward %s", proofName)
	}
	return f, nil
}

// visitTime is how long the visit may take in all, and each of its tries.
const visitTime, visitTry = 8 * time.Second, 4 * time.Second

// visit connects from this machine to the gate until the answer comes back.
func (s *setup) visit(ctx context.Context, gate netip.Addr, w *witness) error {
	at := netip.AddrPortFrom(gate, w.port)
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	for {
		begin := time.Now()
		seen, err := w.visit(ctx, at)
		if err == nil {
			s.printf("  %s → tunnel → this machine and back in %d ms; the service saw the visitor's own address, %s\n", at, time.Since(begin).Milliseconds(), seen)
			return nil
		}
		select {
		case <-ctx.Done():
			return s.explainVisit(context.WithoutCancel(ctx), at, w, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// explainVisit names the hop at which the visit ended, as far as counters tell.
func (s *setup) explainVisit(ctx context.Context, at netip.AddrPort, w *witness, why error) error {
	ctx, cancel := context.WithTimeout(ctx, undoTime)
	defer cancel()
	there, err := s.gateStatus(ctx)
	if err != nil {
		return fmt.Errorf("no answer from %s (%w), and the gate cannot be asked how far it came: %w", at, why, err)
	}
	hop, hint := lostHop(there.arrived(s.o.name), w.wasVisited())
	return fail(exitFailed, hint, "all is set up and stays, but no visitor gets through: TCP to %s: %v\n%s", at, why, hop)
}

// lostHop judges by the last place at which the visit was seen.
func lostHop(sentOn uint64, visited bool) (hop, hint string) {
	switch {
	case visited:
		return "it reached this machine; the answer was lost on its way back", "look for a firewall or rules that others have made on this machine: nft list ruleset; ip rule"
	case sentOn > 0:
		return "the gate got it and sent it on; the service on this machine did not see it: a firewall of others, here or on the VPS", "here, let TCP in from the interface gatelodge (with ufw: ufw allow in on gatelodge); on the VPS, let through what goes there (with ufw: ufw route allow out on gatelodge)"
	default:
		return "it never came as far as the gate: a firewall of the VPS's provider, or of others on the VPS", "in the provider's web console, let in the TCP ports that you will publish; then: gatelodge expose 443"
	}
}

// witness is the service that is visited. It answers only those who know its
// word.
type witness struct {
	net.Listener
	port    uint16
	word    string
	visited chan struct{} // holds one item once somebody was there
}

func listenForProof() (*witness, error) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	w := &witness{Listener: l, port: uint16(n), word: rand.Text(), visited: make(chan struct{}, 1)}
	go w.serve()
	return w, nil
}

// serve answers until the listener is closed.
func (w *witness) serve() {
	for {
		c, err := w.Accept()
		if err != nil {
			return
		}
		go w.answer(c)
	}
}

// answer tells a visitor which address it was seen with.
func (w *witness) answer(c net.Conn) {
	defer c.Close()
	if c.SetDeadline(time.Now().Add(visitTry)) != nil {
		return
	}
	line, err := bufio.NewReader(io.LimitReader(c, 100)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != w.word {
		return
	}
	select {
	case w.visited <- struct{}{}:
	default:
	}
	fmt.Fprintf(c, "%s %s\n", w.word, c.RemoteAddr())
}

func (w *witness) wasVisited() bool { return len(w.visited) > 0 }

// visit goes to an address as a visitor does, and returns with which one it
// was seen.
func (w *witness) visit(ctx context.Context, at netip.AddrPort) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, visitTry)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(visitTry)); err != nil {
		return netip.Addr{}, err
	}
	if _, err := fmt.Fprintln(c, w.word); err != nil {
		return netip.Addr{}, err
	}
	line, err := bufio.NewReader(io.LimitReader(c, 200)).ReadString('\n')
	if err != nil {
		return netip.Addr{}, err
	}
	word, seen, _ := strings.Cut(strings.TrimSpace(line), " ")
	addr, err := netip.ParseAddrPort(seen)
	if word != w.word || err != nil || addr.Addr().Zone() != "" {
		return netip.Addr{}, fmt.Errorf("another service answers there: %.60q", line)
	}
	return addr.Addr().Unmap(), nil
}
