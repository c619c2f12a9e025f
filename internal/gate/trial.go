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

// trials puts input policies of a gate's memory on trial, and keeps or ends them.
type trials struct{ memory *memory }

func (g *Gate) trials() trials { return trials{g.memory} }

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
		begun, err := g.trials().takeConfig(c, facts, req, before)
		if begun {
			time.AfterFunc(begunWithin(req), g.loop.Kick)
			g.prover.Kick()
		}
		return err
	})
}

// takeConfig lets a configuration count, and reports whether an input policy is
// on trial because of it.
func (ts trials) takeConfig(c config.Gate, facts plan.Facts, req local.ApplyRequest, before scene) (begun bool, err error) {
	m := ts.memory
	if err := m.now().Acceptable(c, facts); err != nil {
		return false, err
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	begun, err = ts.takeInput(plan.WantedInput(c), req, before)
	if err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Config = c
	m.ssh.again = true
	return begun, nil
}

// takeInput keeps a policy that is no risk, and puts another on trial. The
// caller holds writing.
func (ts trials) takeInput(wanted plan.InputPolicy, req local.ApplyRequest, before scene) (begun bool, err error) {
	begun, harmless, err := ts.try(wanted, req, before)
	if err != nil || !harmless {
		return begun, err
	}
	return false, ts.keep(wanted, "")
}

// try puts a policy on trial, unless it is harmless.
func (ts trials) try(wanted plan.InputPolicy, req local.ApplyRequest, before scene) (begun, harmless bool, err error) {
	m := ts.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inputs.end(m.events)
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
func (ts trials) keep(p plan.InputPolicy, why string) error {
	m := ts.memory
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

// end forgets a trial whose time is up: the kernel has reverted it.
func (i *inputs) end(events event.Recorder) {
	t := i.trial
	if t == nil || time.Now().Before(t.deadline) {
		return
	}
	i.trial = nil
	i.last = "the input policy was reverted, because nobody had confirmed it in time"
	events.Record(event.InputReverted{Closed: t.closes})
}

// dropTrial ends a trial that could not be carried out.
func (ts trials) dropTrial() {
	m := ts.memory
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
func (ts trials) confirm(req local.ConfirmRequest) error {
	m := ts.memory
	m.writing.Lock()
	defer m.writing.Unlock()
	t, err := ts.onTrial()
	if err != nil {
		return err
	}
	if req.Session.IsValid() && slices.ContainsFunc(t.before.sessions, func(c host.Session) bool { return c.Remote == req.Session }) {
		return &local.RefusedError{
			Message: fmt.Sprintf("this ssh session was there before the input policy that waits for confirmation, so it proves nothing; %s are left", left(t.deadline)),
			Hint:    "open a new ssh session to this machine; that is enough",
		}
	}
	if err := ts.keep(t.policy, "confirmed"); err != nil {
		return fmt.Errorf("the input policy cannot be kept, and is reverted in %s: %w", left(t.deadline), err)
	}
	return nil
}

// onTrial returns the trial that goes on, or says why there is none.
func (ts trials) onTrial() (*trial, error) {
	m := ts.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inputs.end(m.events)
	if m.inputs.trial == nil {
		return nil, m.inputs.nothingToConfirm(plan.WantedInput(m.state.Config))
	}
	return m.inputs.trial, nil
}

// nothingToConfirm says why there is nothing, by what the file wants.
func (i inputs) nothingToConfirm(wanted plan.InputPolicy) error {
	refused := &local.RefusedError{Message: "nothing waits for a confirmation"}
	if i.last != "" {
		refused.Message += ": " + i.last
	}
	if len(wanted.Closes(i.kept)) > 0 {
		refused.Hint = "to try again: gatelodge apply"
	}
	return refused
}

// status shows the input policy beside the one that the file wants.
func (i inputs) status(wanted plan.InputPolicy) *status.Input {
	s := &status.Input{Policy: "leave", State: status.Kept}
	if i.kept.Protect {
		s.Policy = "protect"
	}
	if t := i.trial; t != nil && time.Now().Before(t.deadline) {
		s.State, s.Closes, s.Left = status.OnTrial, t.closes, time.Until(t.deadline)
	} else if closes := wanted.Closes(i.kept); len(closes) > 0 {
		s.State, s.Closes = status.Unconfirmed, closes
	}
	return s
}

// input shows the input policy.
func (ts trials) input() *status.Input {
	m := ts.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inputs.status(plan.WantedInput(m.state.Config))
}

// problem says that the file's input policy, which is the one wanted, is not in
// force.
func (i inputs) problem(wanted plan.InputPolicy) []string {
	s := i.status(wanted)
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
