package home

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/internal/reach"
)

// A WireGuard gate says nothing to a key that it does not know: to a home, a
// gate that was set up again, or that has revoked it, is as silent as one whose
// port is blocked. What can be told apart is whether the gate's machine is
// there at all.

const (
	// longSilence is after how long without an answer it is worth looking at the
	// machine: a gate that restarts is back by then.
	longSilence = 30 * time.Second
	// lookAgain is between two looks.
	lookAgain = time.Minute
)

// whySilent says what is known of a silence that has lasted for a while; ""
// where it is too early to say anything new.
func (k *keeper) whySilent(ctx context.Context, lasted time.Duration) string {
	at := k.link.where()
	if !at.IsValid() || lasted < longSilence || time.Since(k.looked) < lookAgain {
		return ""
	}
	k.looked = time.Now()
	return silenceOf(at, k.link.lastEndpoint().IsValid(), k.beyond.answers(ctx, at.Addr(), reach.UsualPorts()))
}

// silenceOf puts a silence into words. known says that the gate has answered
// this home's key before, port is one at which the machine answers, or 0.
func silenceOf(at netip.AddrPort, known bool, port uint16) string {
	blocked := fmt.Sprintf("UDP port %d is blocked on the way, by the VPS's provider for instance", at.Port())
	const newInvite = "on the gate, gatelodge gate homes shows whether it knows this home, and gatelodge gate invite makes a new invite"
	switch {
	case known && port > 0:
		return fmt.Sprintf("the machine at %s is up (TCP port %d answers), but the gate there no longer answers this home's key: the gate was set up again or has revoked this home, or %s; %s", at.Addr(), port, blocked, newInvite)
	case known:
		return fmt.Sprintf("nothing comes back from the gate at %s: its machine is down or out of reach, the gate was set up again or has revoked this home, or %s; %s", at.Addr(), blocked, newInvite)
	case port > 0:
		return fmt.Sprintf("the machine at %s is up (TCP port %d answers), but no gate there answers this home's key: it is the wrong machine, gatelodge does not run there, or %s", at.Addr(), port, blocked)
	default:
		return fmt.Sprintf("nothing comes back from %s, where the gate should be: its machine is down or out of reach, or %s", at.Addr(), blocked)
	}
}
