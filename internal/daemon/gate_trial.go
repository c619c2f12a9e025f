package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
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

// inputMemory is an input policy as it is stored.
type inputMemory plan.InputPolicy

type inputWire struct {
	Protect bool     `json:"protect"`
	Accept  []string `json:"accept,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (m inputMemory) MarshalJSON() ([]byte, error) {
	w := inputWire{Protect: m.Protect}
	for _, p := range m.Accept {
		w.Accept = append(w.Accept, p.String())
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *inputMemory) UnmarshalJSON(data []byte) error {
	var w inputWire
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	var accept []forward.Ports
	for _, text := range w.Accept {
		ports, err := forward.ParsePorts(text)
		if err != nil {
			return fmt.Errorf("an input policy that was kept: %w", err)
		}
		accept = append(accept, ports...)
	}
	*m = inputMemory{Protect: w.Protect, Accept: forward.NewPortSet(accept...)}
	return nil
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
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := sameInstance(g.config.Tunnel.Interface, c.Tunnel.Interface); err != nil {
		return err
	}
	if err := g.takeInput(plan.WantedInput(c), req, before); err != nil {
		return err
	}
	g.config = c
	return nil
}

// takeInput keeps a policy that is no risk, and puts another on trial. The
// caller holds mu.
func (g *gate) takeInput(wanted plan.InputPolicy, req ApplyRequest, before scene) error {
	g.endTrial()
	t, closes := g.inputs.trial, wanted.Closes(g.inputs.kept)
	switch {
	case t != nil && wanted.Same(t.policy):
		return nil
	case len(closes) == 0:
		return g.keep(wanted, "")
	case req.LeaveInput:
		return nil
	case t != nil:
		return &RefusedError{
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
	return nil
}

// keep makes a policy the one that a start begins with. It is on disk before it
// counts. The caller holds mu.
func (g *gate) keep(p plan.InputPolicy, why string) error {
	was := g.inputs
	g.inputs.kept, g.inputs.trial = p, nil
	if !p.Same(was.kept) {
		if err := g.save(g.registry); err != nil {
			g.inputs = was
			return err
		}
		g.unsaved = false
	}
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
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endTrial()
	if g.inputs.trial != t {
		return false, nil
	}
	from, proved := now.proves(t.before, g.facts.Public)
	if !proved {
		return false, nil
	}
	if err := g.keep(t.policy, "a new ssh connection came through, from "+from.String()); err != nil {
		return false, err
	}
	g.loop.kick()
	return true, nil
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
	_, err := g.reconcile(ctx)
	return ConfirmResponse{Report: g.Report(ctx)}, err
}

func (g *gate) confirm(req ConfirmRequest) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endTrial()
	t := g.inputs.trial
	if t == nil {
		return g.nothingToConfirm()
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
