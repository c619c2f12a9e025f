package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// An input policy that closes what the one before it lets in could cut the
// owner off. It is put on trial: the kernel takes it back when its time is up
// (see plan.Trial), unless it has been kept before. It is kept when its owner
// says so over a connection that is newer than the policy, or when one has
// been seen to come through, and the tunnel lives.
//
// Only a policy that was kept is ever remembered. So a start, after a reboot or
// a crash, begins with that one, whatever the file says by then.

// The time that an owner has to confirm a policy.
const (
	ConfirmTime      = 60 * time.Second // where the owner does not say
	ShortConfirmTime = 10 * time.Second // at least: one has to get in
	LongConfirmTime  = time.Hour        // at most
)

// trial is a policy on trial, and what the world was like when it began.
type trial struct {
	number   int
	policy   plan.InputPolicy
	closes   []string
	deadline time.Time // monotonic
	before   scene
}

// scene is what may prove later that a policy cuts nobody off: connections and
// bytes that were not there yet.
type scene struct {
	sessions []host.Session
	received map[key.Public]uint64 // bytes from each peer
	tunnel   bool                  // whether a home was connected
}

// inputs are the gate's input policies.
type inputs struct {
	kept  plan.InputPolicy
	trial *trial // nil: none
	count int    // of trials in this run
	// last says what became of the last trial, in words.
	last string
}

// planned is the trial as the firewall needs it.
func (i inputs) planned() *plan.Trial {
	if i.trial == nil {
		return nil
	}
	return &plan.Trial{Number: i.trial.number, Policy: i.trial.policy, Left: time.Until(i.trial.deadline)}
}

// takeConfig reads the configuration again and lets it count. A file that is
// wrong, or an input policy that has to wait, leaves the last one in force.
func (g *gate) takeConfig(ctx context.Context, req ApplyRequest) error {
	c, err := g.readConfig()
	if err != nil {
		return err
	}
	g.apply.Lock()
	defer g.apply.Unlock()
	before, err := g.scene(ctx)
	if err != nil {
		return err
	}
	facts, err := g.host.Facts(ctx, c.Tunnel.Interface)
	if err != nil {
		return err
	}
	g.mu.Lock()
	err = g.acceptable(c, facts)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	g.writing.Lock()
	defer g.writing.Unlock()
	if err := g.takeInput(plan.WantedInput(c), req, before); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.config = c
	g.ssh.anew = true
	return nil
}

// takeInput keeps a policy that is no risk, and puts another on trial. The
// caller holds writing.
func (g *gate) takeInput(wanted plan.InputPolicy, req ApplyRequest, before scene) error {
	harmless, err := g.try(wanted, req, before)
	if err != nil || !harmless {
		return err
	}
	return g.keep(wanted, "")
}

// try puts a policy on trial, unless it is harmless.
func (g *gate) try(wanted plan.InputPolicy, req ApplyRequest, before scene) (harmless bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endTrial()
	t, closes := g.inputs.trial, wanted.Closes(g.inputs.kept)
	switch {
	case t != nil && wanted.Same(t.policy):
		return false, nil
	case len(closes) == 0:
		return true, nil
	case req.LeaveInput:
		return false, nil
	case t != nil:
		return false, &RefusedError{
			Message: fmt.Sprintf("another input policy is on trial for %s more, and this one would close %s", left(t.deadline), strings.Join(closes, ", ")),
			Hint:    "gatelodge confirm, or wait until it is taken back; then: gatelodge apply",
		}
	}
	within := req.ConfirmWithin
	if within == 0 {
		within = ConfirmTime
	}
	g.inputs.count++
	g.inputs.trial = &trial{number: g.inputs.count, policy: wanted, closes: closes, deadline: time.Now().Add(within), before: before}
	g.log.Warn("input policy on trial: it is taken back unless it is confirmed", "closes", strings.Join(closes, ", "), "within", within)
	time.AfterFunc(within, g.loop.kick)
	g.prover.kick()
	return false, nil
}

// keep makes a policy the one that a start begins with. It is on disk before it
// counts. The caller holds writing, and not mu.
func (g *gate) keep(p plan.InputPolicy, why string) error {
	g.mu.Lock()
	was, m := g.inputs, g.memory(g.registry, p)
	g.mu.Unlock()
	if !p.Same(was.kept) {
		if err := g.save(m); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unsaved = g.unsaved && p.Same(was.kept)
	g.inputs.kept, g.inputs.trial = p, nil
	if was.trial != nil && why != "" {
		g.inputs.last = "the input policy is kept already: " + why
		g.log.Info("input policy kept", "because", why)
	}
	return nil
}

// endTrial forgets a trial whose time is up: the kernel has taken it back. The
// caller holds mu.
func (g *gate) endTrial() {
	t := g.inputs.trial
	if t == nil || time.Now().Before(t.deadline) {
		return
	}
	g.inputs.trial = nil
	g.inputs.last = "the input policy was taken back, because nobody had confirmed it in time"
	g.log.Warn("input policy taken back: nobody has confirmed it", "closed", strings.Join(t.closes, ", "))
}

// dropTrial ends a trial that could not be carried out.
func (g *gate) dropTrial() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inputs.trial = nil
}

// startInput begins a run with what was kept, and with what the file asks for
// only if that is no risk.
func (g *gate) startInput(kept *inputMemory) {
	if kept != nil {
		g.inputs.kept = plan.InputPolicy(*kept)
	}
	if wanted := plan.WantedInput(g.config); len(wanted.Closes(g.inputs.kept)) == 0 && !wanted.Same(g.inputs.kept) {
		g.inputs.kept, g.unsaved = wanted, true
	}
}

// scene looks at what may prove something later.
func (g *gate) scene(ctx context.Context) (scene, error) {
	g.mu.Lock()
	ports := slices.Concat(g.config.Firewall.SSHPorts, g.facts.SSHPorts)
	g.mu.Unlock()
	sessions, err := host.Sessions(ports)
	if err != nil {
		return scene{}, fmt.Errorf("cannot look at this machine's connections: %w", err)
	}
	peers, err := g.host.Peers(ctx)
	if err != nil {
		return scene{}, err
	}
	s := scene{sessions: sessions, received: map[key.Public]uint64{}, tunnel: g.silences.heard(time.Now()) > 0}
	for _, p := range peers {
		s.received[p.PublicKey] = p.ReceivedBytes
	}
	return s, nil
}

// glance is how often a gate looks for what proves a policy on trial: often
// enough to see a connection that only knocks.
const glance = 200 * time.Millisecond

// proveTrial keeps the policy on trial once it is seen to cut nobody off, and
// returns when none is on trial any more.
func (g *gate) proveTrial(ctx context.Context) error {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		if done, err := g.tryProof(ctx); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// tryProof looks once. It is done where nothing is on trial any more.
func (g *gate) tryProof(ctx context.Context) (done bool, err error) {
	g.mu.Lock()
	t := g.inputs.trial
	g.mu.Unlock()
	if t == nil {
		return true, nil
	}
	now, err := g.scene(ctx)
	if err != nil {
		return false, err
	}
	g.writing.Lock()
	defer g.writing.Unlock()
	from, proved := g.proved(t, now)
	if !proved {
		return false, nil
	}
	if err := g.keep(t.policy, "a new ssh connection came through, from "+from.String()); err != nil {
		return false, err
	}
	g.loop.kick()
	return true, nil
}

// proved reports whether the trial still goes on and what is seen now ends it
// well, and the address that an owner has come from.
func (g *gate) proved(t *trial, now scene) (from netip.Addr, proved bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endTrial()
	if g.inputs.trial != t {
		return netip.Addr{}, false
	}
	return now.proves(t.before, g.facts.Public)
}

// proves reports whether a new ssh connection of somebody else's has come
// through since, and the tunnel lives if it did; and where from.
func (s scene) proves(before scene, own []netip.Addr) (from netip.Addr, proved bool) {
	alive := !before.tunnel
	for peer, n := range s.received {
		alive = alive || n > before.received[peer]
	}
	if !alive {
		return netip.Addr{}, false
	}
	for _, c := range s.sessions {
		from := c.Remote.Addr()
		if !from.IsLoopback() && from != c.Local.Addr() && !slices.Contains(own, from) && !slices.Contains(before.sessions, c) {
			return from, true
		}
	}
	return netip.Addr{}, false
}

// Confirm keeps the policy on trial. A session that is older than the trial
// proves nothing: it would go on under any policy.
func (g *gate) Confirm(ctx context.Context, req ConfirmRequest) (ConfirmResponse, error) {
	if err := g.confirm(req); err != nil {
		return ConfirmResponse{}, err
	}
	_, err := g.reconcile()
	return ConfirmResponse{Report: g.Report(ctx)}, err
}

func (g *gate) confirm(req ConfirmRequest) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	t, err := g.onTrial()
	if err != nil {
		return err
	}
	if req.Session.IsValid() && slices.ContainsFunc(t.before.sessions, func(c host.Session) bool { return c.Remote == req.Session }) {
		return &RefusedError{
			Message: fmt.Sprintf("this ssh session was there before the input policy that waits for confirmation, so it proves nothing; %s are left", left(t.deadline)),
			Hint:    "open a new ssh session to this machine; that is enough",
		}
	}
	if err := g.keep(t.policy, "confirmed"); err != nil {
		return fmt.Errorf("the input policy cannot be kept, and is taken back in %s: %w", left(t.deadline), err)
	}
	return nil
}

// onTrial returns the trial that goes on, or says why there is none.
func (g *gate) onTrial() (*trial, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endTrial()
	if g.inputs.trial == nil {
		return nil, g.nothingToConfirm()
	}
	return g.inputs.trial, nil
}

// nothingToConfirm says why there is nothing. The caller holds mu.
func (g *gate) nothingToConfirm() error {
	refused := &RefusedError{Message: "nothing waits for a confirmation"}
	if g.inputs.last != "" {
		refused.Message += ": " + g.inputs.last
	}
	if len(plan.WantedInput(g.config).Closes(g.inputs.kept)) > 0 {
		refused.Hint = "to try again: gatelodge apply"
	}
	return refused
}

// inputStatus shows the input policy. The caller holds mu.
func (g *gate) inputStatus() *status.Input {
	s := &status.Input{Policy: "leave", State: status.Kept}
	if g.inputs.kept.Protect {
		s.Policy = "protect"
	}
	if t := g.inputs.trial; t != nil && time.Now().Before(t.deadline) {
		s.State, s.Closes, s.Left = status.OnTrial, t.closes, time.Until(t.deadline)
	} else if closes := plan.WantedInput(g.config).Closes(g.inputs.kept); len(closes) > 0 {
		s.State, s.Closes = status.Unconfirmed, closes
	}
	return s
}

// inputProblem says that the file's input policy is not in force. The caller
// holds mu.
func (g *gate) inputProblem() []string {
	s := g.inputStatus()
	if s.State != status.Unconfirmed {
		return nil
	}
	return []string{fmt.Sprintf("the input policy of gate.toml is not in force, because nobody has confirmed it: it would close %s; run gatelodge apply, and then open a new ssh session", strings.Join(s.Closes, ", "))}
}

func left(deadline time.Time) time.Duration {
	return max(time.Until(deadline), 0).Round(time.Second)
}

// checkConfirmTime bounds what a command may ask for.
func checkConfirmTime(d time.Duration) error {
	if d != 0 && (d < ShortConfirmTime || d > LongConfirmTime) {
		return errors.New("the time to confirm a change is 10s to 1h")
	}
	return nil
}
