package onboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/edit"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/status"
)

// proofName is the name of the forward that stands while the way is proved.
const proofName = "init-proof"

// proof is a visit of this machine to itself.
type proof struct {
	here     Here
	vps      *vps
	progress Progress
	home     string // its name at the gate
}

// prove has this machine visit itself: out by its own router, in at the gate's
// public address, through the tunnel, and back. Its router gives the packets
// an address of the internet, so to the gate they are any visitor's. What the
// gate itself sends would not do: it passes no prerouting.
func (p proof) prove(ctx context.Context) error {
	gate, why, err := p.visitable(ctx)
	if err != nil {
		return err
	}
	if why != "" {
		p.progress.Done("not tried: " + why + "; after expose, try it from a phone on its mobile network")
		return nil
	}
	const tries = 3 // a port may be reserved, or another home's
	var refused *edit.RefusedError
	for range tries {
		err := p.proveOnce(ctx, gate)
		if !errors.As(err, &refused) {
			return err
		}
	}
	p.progress.Done("not tried: the gate does not let this home publish a port for it: " + refused.Reason)
	return nil
}

// visitable returns the gate's address, or why this machine cannot be a
// visitor of it.
func (p proof) visitable(ctx context.Context) (gate netip.Addr, why string, err error) {
	r, err := p.here.Client().Status(ctx)
	if err != nil {
		return netip.Addr{}, "", err
	}
	if len(r.Gates) == 0 || !r.Gates[0].Peer.Endpoint.IsValid() {
		return netip.Addr{}, "", problem.New(problem.Failed, "gatelodge status", "the daemon does not say where the gate is")
	}
	endpoint := r.Gates[0].Peer.Endpoint
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
	case !plan.Routable(gate):
		why = fmt.Sprintf("the gate's address %s is not a public one, so a visitor's would not be either", gate)
	case plan.Routable(own.Addr().Unmap()):
		why = fmt.Sprintf("this machine itself has the public address %s, and never lets packets from its own address in by the tunnel", own.Addr().Unmap())
	}
	return gate, why, nil
}

// proveOnce wraps an *edit.RefusedError if the gate does not grant the port.
func (p proof) proveOnce(ctx context.Context, gate netip.Addr) (err error) {
	w, err := listenForProof()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	published, err := p.here.Editor.Publish(ctx, config.NewForward{Name: proofName, Ports: []string{fmt.Sprintf("%d/tcp", w.port)}})
	if err != nil {
		return err
	}
	// Also when the owner stops this: what is published must not stay so.
	defer func() { err = errors.Join(err, p.here.Editor.Unpublish(context.WithoutCancel(ctx), proofName)) }()
	if published.Forward.State != status.Granted {
		return problem.New(problem.Failed, "gatelodge status", "the gate does not answer whether it forwards a port")
	}
	return p.visit(ctx, gate, w)
}

// visitTime is how long the visit may take in all, and each of its tries.
const visitTime, visitTry = 8 * time.Second, 4 * time.Second

// visit connects from this machine to the gate until the answer comes back.
func (p proof) visit(ctx context.Context, gate netip.Addr, w *witness) error {
	at := netip.AddrPortFrom(gate, w.port)
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	for {
		begin := time.Now()
		seen, err := w.visit(ctx, at)
		if err == nil {
			p.progress.Done(fmt.Sprintf("%s → tunnel → this machine and back in %d ms; the service saw the visitor's own address, %s", at, time.Since(begin).Milliseconds(), seen))
			return nil
		}
		select {
		case <-ctx.Done():
			return p.explainVisit(context.WithoutCancel(ctx), at, w, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// explainVisit names the hop at which the visit ended, as far as counters tell.
func (p proof) explainVisit(ctx context.Context, at netip.AddrPort, w *witness, why error) error {
	ctx, cancel := context.WithTimeout(ctx, undoTime)
	defer cancel()
	there, err := p.vps.status(ctx)
	if err != nil {
		return fmt.Errorf("no answer from %s (%w), and the gate does not say how far the visit came: %w", at, why, err)
	}
	hop, hint := lostHop(there.arrived(p.home), w.wasVisited())
	return problem.New(problem.Failed, hint, "everything is set up and stays, but no visitor gets through: TCP to %s: %v\n%s", at, why, hop)
}

// lostHop judges by the last place at which the visit was seen.
func lostHop(sentOn uint64, visited bool) (hop, hint string) {
	switch {
	case visited:
		return "it reached this machine; the answer was lost on its way back", "look for another firewall or other rules on this machine: nft list ruleset; ip rule"
	case sentOn > 0:
		return "the gate got it and sent it on, but it did not reach the service on this machine: another firewall, here or on the VPS, drops it", "here, let TCP in from the interface gatelodge (with ufw: ufw allow in on gatelodge); on the VPS, let through what goes out by the interface gatelodge (with ufw: ufw route allow out on gatelodge)"
	default:
		return "it never reached the gate: a firewall of the VPS's provider, or another one on the VPS, drops it", "in the provider's web console, let in the TCP ports that you will publish; then: gatelodge expose 443"
	}
}
