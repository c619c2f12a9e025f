package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// An input policy that closes what the one before it lets in could cut the
// owner off. It is put on trial: the kernel reverts it when its time is up
// (see plan.Trial), unless it has been kept before. It is kept when its owner
// says so over a connection that is newer than the policy, or when one has
// been seen to come through, and the tunnel lives.
//
// Only a policy that was kept is ever remembered. So a start, after a reboot or
// a crash, begins with that one, whatever the file says by then.

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
func (g *Gate) takeConfig(ctx context.Context, req local.ApplyRequest) error {
	c, err := g.memory.readConfig()
	if err != nil {
		return err
	}
	return g.reconciler.Alone(ctx, func() error {
		before, err := g.scene(ctx)
		if err != nil {
			return err
		}
		facts, err := g.machine.Facts(ctx, c.Tunnel.Interface)
		if err != nil {
			return err
		}
		begun, err := g.memory.takeConfig(c, facts, req, before)
		if begun {
			time.AfterFunc(begunWithin(req), g.loop.Kick)
			g.prover.Kick()
		}
		return err
	})
}

// takeConfig lets a configuration count, and reports whether an input policy is
// on trial because of it.
func (m *memory) takeConfig(c config.Gate, facts plan.Facts, req local.ApplyRequest, before scene) (begun bool, err error) {
	if err := m.now().Acceptable(c, facts); err != nil {
		return false, err
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	begun, err = m.takeInput(plan.WantedInput(c), req, before)
	if err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Config = c
	m.ssh.anew = true
	return begun, nil
}

// takeInput keeps a policy that is no risk, and puts another on trial. The
// caller holds writing.
func (m *memory) takeInput(wanted plan.InputPolicy, req local.ApplyRequest, before scene) (begun bool, err error) {
	begun, harmless, err := m.try(wanted, req, before)
	if err != nil || !harmless {
		return begun, err
	}
	return false, m.keep(wanted, "")
}

// try puts a policy on trial, unless it is harmless.
func (m *memory) try(wanted plan.InputPolicy, req local.ApplyRequest, before scene) (begun, harmless bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endTrial()
	t, closes := m.inputs.trial, wanted.Closes(m.inputs.kept)
	switch {
	case t != nil && wanted.Same(t.policy):
		return false, false, nil
	case len(closes) == 0:
		return false, true, nil
	case req.LeaveInput:
		return false, false, nil
	case t != nil:
		return false, false, &local.RefusedError{
			Message: fmt.Sprintf("another input policy is on trial for %s more, and this one would close %s", left(t.deadline), strings.Join(closes, ", ")),
			Hint:    "gatelodge confirm, or wait until it is reverted; then: gatelodge apply",
		}
	}
	within := begunWithin(req)
	m.inputs.count++
	m.inputs.trial = &trial{number: m.inputs.count, policy: wanted, closes: closes, deadline: time.Now().Add(within), before: before}
	m.events.Record(event.InputOnTrial{Closes: closes, Within: within})
	return true, false, nil
}

// begunWithin is how long the owner has to confirm.
func begunWithin(req local.ApplyRequest) time.Duration {
	if req.ConfirmWithin == 0 {
		return local.ConfirmTime
	}
	return req.ConfirmWithin
}

// keep makes a policy the one that a start begins with. It is on disk before it
// counts. The caller holds writing, and not mu.
func (m *memory) keep(p plan.InputPolicy, why string) error {
	m.mu.Lock()
	was, s := m.inputs, m.stored(m.state.Registry, p)
	m.mu.Unlock()
	if !p.Same(was.kept) {
		if err := m.save(s); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unsaved = m.unsaved && p.Same(was.kept)
	m.inputs.kept, m.inputs.trial = p, nil
	if was.trial != nil && why != "" {
		m.inputs.last = "the input policy is kept already: " + why
		m.events.Record(event.InputKept{Because: why})
	}
	return nil
}

// endTrial forgets a trial whose time is up: the kernel has reverted it. The
// caller holds mu.
func (m *memory) endTrial() {
	t := m.inputs.trial
	if t == nil || time.Now().Before(t.deadline) {
		return
	}
	m.inputs.trial = nil
	m.inputs.last = "the input policy was reverted, because nobody had confirmed it in time"
	m.events.Record(event.InputReverted{Closed: t.closes})
}

// dropTrial ends a trial that could not be carried out.
func (m *memory) dropTrial() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inputs.trial = nil
}

// startInput begins a run with what was kept, and with what the file asks for
// only if that is no risk.
func (m *memory) startInput(kept *storedInput) {
	if kept != nil {
		m.inputs.kept = plan.InputPolicy(*kept)
	}
	if wanted := plan.WantedInput(m.state.Config); len(wanted.Closes(m.inputs.kept)) == 0 && !wanted.Same(m.inputs.kept) {
		m.inputs.kept, m.unsaved = wanted, true
	}
}

// confirm keeps the policy on trial. A session that is older than the trial
// proves nothing: it would go on under any policy.
func (m *memory) confirm(req local.ConfirmRequest) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	t, err := m.onTrial()
	if err != nil {
		return err
	}
	if req.Session.IsValid() && slices.ContainsFunc(t.before.sessions, func(c host.Session) bool { return c.Remote == req.Session }) {
		return &local.RefusedError{
			Message: fmt.Sprintf("this ssh session was there before the input policy that waits for confirmation, so it proves nothing; %s are left", left(t.deadline)),
			Hint:    "open a new ssh session to this machine; that is enough",
		}
	}
	if err := m.keep(t.policy, "confirmed"); err != nil {
		return fmt.Errorf("the input policy cannot be kept, and is reverted in %s: %w", left(t.deadline), err)
	}
	return nil
}

// onTrial returns the trial that goes on, or says why there is none.
func (m *memory) onTrial() (*trial, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endTrial()
	if m.inputs.trial == nil {
		return nil, m.nothingToConfirm()
	}
	return m.inputs.trial, nil
}

// nothingToConfirm says why there is nothinm. The caller holds mu.
func (m *memory) nothingToConfirm() error {
	refused := &local.RefusedError{Message: "nothing waits for a confirmation"}
	if m.inputs.last != "" {
		refused.Message += ": " + m.inputs.last
	}
	if len(plan.WantedInput(m.state.Config).Closes(m.inputs.kept)) > 0 {
		refused.Hint = "to try again: gatelodge apply"
	}
	return refused
}

// inputStatus shows the input policy. The caller holds mu.
func (m *memory) inputStatus() *status.Input {
	s := &status.Input{Policy: "leave", State: status.Kept}
	if m.inputs.kept.Protect {
		s.Policy = "protect"
	}
	if t := m.inputs.trial; t != nil && time.Now().Before(t.deadline) {
		s.State, s.Closes, s.Left = status.OnTrial, t.closes, time.Until(t.deadline)
	} else if closes := plan.WantedInput(m.state.Config).Closes(m.inputs.kept); len(closes) > 0 {
		s.State, s.Closes = status.Unconfirmed, closes
	}
	return s
}

// input is inputStatus for who does not hold mu.
func (m *memory) input() *status.Input {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inputStatus()
}

// inputProblem says that the file's input policy is not in force. The caller
// holds mu.
func (m *memory) inputProblem() []string {
	s := m.inputStatus()
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
	if d != 0 && (d < local.ShortConfirmTime || d > local.LongConfirmTime) {
		return errors.New("the time to confirm a change is 10s to 1h")
	}
	return nil
}
