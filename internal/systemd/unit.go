package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Booted reports whether systemd is this machine's init, as sd_booted(3) finds
// out.
func Booted() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Unit is a unit of this machine's systemd, as systemctl(1) sees it.
type Unit struct {
	name       string
	systemctl  string // the programs, by their names unless a test says otherwise
	journalctl string
}

// NewUnit returns the unit of that name, such as "gatelodge.service".
func NewUnit(name string) *Unit {
	return &Unit{name: name, systemctl: "systemctl", journalctl: "journalctl"}
}

// String returns the unit's name.
func (u *Unit) String() string { return u.name }

// State is what systemd says of a unit, in its own words.
type State struct {
	Load     string // "loaded", "not-found", "masked"
	Active   string // "active", "inactive", "activating", "failed" and more
	Sub      string // such as "running" and "auto-restart"
	File     string // "enabled", "disabled" and more
	Fragment string // the unit's file
	Status   string // what the service itself says
	User     string // that it runs as; "" is root
	Result   string // of its last run: "success", "exit-code", "watchdog" and more
}

// State asks systemd for the unit's state.
func (u *Unit) State(ctx context.Context) (State, error) {
	var s State
	properties := map[string]*string{
		"LoadState": &s.Load, "ActiveState": &s.Active, "SubState": &s.Sub, "UnitFileState": &s.File,
		"FragmentPath": &s.Fragment, "StatusText": &s.Status, "User": &s.User, "Result": &s.Result,
	}
	args := []string{"show"}
	for name := range properties {
		args = append(args, "--property="+name)
	}
	out, err := u.run(ctx, append(args, u.name)...)
	if err != nil {
		return State{}, err
	}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		if p, ok := properties[name]; ok {
			*p = value
		}
	}
	if s.Load == "" {
		return State{}, fmt.Errorf("systemctl does not say whether there is a unit %s", u.name)
	}
	return s, nil
}

// Installed reports whether systemd knows the unit. One that the owner has
// masked counts: they do not want it started.
func (u *Unit) Installed(ctx context.Context) (bool, error) {
	s, err := u.State(ctx)
	return s.Load != "not-found", err
}

// Active reports whether the unit runs, or is about to.
func (u *Unit) Active(ctx context.Context) (bool, error) {
	s, err := u.State(ctx)
	return s.Active != "inactive" && s.Active != "failed", err
}

// Enabled reports whether the unit starts when the machine does.
func (u *Unit) Enabled(ctx context.Context) (bool, error) {
	s, err := u.State(ctx)
	return strings.HasPrefix(s.File, "enabled"), err
}

// Enable makes the unit start when the machine does.
func (u *Unit) Enable(ctx context.Context) error { return u.do(ctx, "enable") }

// Disable undoes Enable. It does not stop the unit.
func (u *Unit) Disable(ctx context.Context) error { return u.do(ctx, "disable") }

// Start starts the unit and returns when it is ready. An error says what the
// service said last.
func (u *Unit) Start(ctx context.Context) error { return u.start(ctx, "start") }

// Restart stops the unit, if it runs or waits for its next try, and starts it.
func (u *Unit) Restart(ctx context.Context) error { return u.start(ctx, "restart") }

// Stop stops the unit and returns when it has ended.
func (u *Unit) Stop(ctx context.Context) error { return u.do(ctx, "stop") }

// DaemonReload makes systemd read its unit files again.
func (u *Unit) DaemonReload(ctx context.Context) error {
	_, err := u.run(ctx, "daemon-reload")
	return err
}

func (u *Unit) do(ctx context.Context, verb string) error {
	_, err := u.run(ctx, verb, u.name)
	return err
}

// StartError means that systemd could not start the unit.
type StartError struct {
	Unit   string
	Reason string // what the service said last; "" if nothing is known
	Err    error
}

// Error implements error.
func (e *StartError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%s does not start: %v", e.Unit, e.Err)
	}
	return fmt.Sprintf("%s does not start: %s", e.Unit, e.Reason)
}

// Unwrap returns what systemctl says.
func (e *StartError) Unwrap() error { return e.Err }

// start starts the unit. That systemctl succeeds is not enough: it also does
// for a unit whose conditions are not met.
func (u *Unit) start(ctx context.Context, verb string) error {
	began := time.Now()
	err := u.do(ctx, verb)
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	if err != nil {
		failed := &StartError{Unit: u.name, Err: err}
		failed.Reason = u.reason(ctx, began)
		return failed
	}
	s, err := u.State(ctx)
	if err != nil {
		return err
	}
	if s.Active == "inactive" {
		return &StartError{Unit: u.name, Reason: "systemd has skipped it; its conditions are not met", Err: fmt.Errorf("the unit is %s (%s)", s.Active, s.Sub)}
	}
	return nil
}

// reason finds out why the service does not start: what it says of itself, or
// else what it has logged last. A unit that systemd did not even try has said
// nothing.
func (u *Unit) reason(ctx context.Context, since time.Time) string {
	s, err := u.State(ctx)
	if err == nil && s.Load != "loaded" {
		return ""
	}
	lines := u.linesSince(ctx, since)
	if s.Status != "" || len(lines) == 0 {
		return s.Status
	}
	return lines[len(lines)-1]
}

// linesSince returns the last lines that the service has logged since a time,
// the latest last: none where the journal cannot be read.
func (u *Unit) linesSince(ctx context.Context, since time.Time) []string {
	// What was said just now may still be on its way. Where this fails, the
	// latest lines are missing at worst.
	_ = exec.CommandContext(ctx, u.journalctl, "--sync").Run()
	out, err := exec.CommandContext(ctx, u.journalctl, "--quiet", "--no-pager", "--output=cat", "--lines=10",
		fmt.Sprintf("--since=@%d", since.Unix()), "_SYSTEMD_UNIT="+u.name).Output()
	if err != nil {
		return nil
	}
	text := strings.TrimSpace(string(out))
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// run runs systemctl and returns what it prints. It asks nobody for a
// password: there may be nobody.
func (u *Unit) run(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, u.systemctl, append([]string{"--no-ask-password", "--no-pager"}, args...)...)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	err := c.Run()
	if err == nil {
		return out.String(), nil
	}
	if text := strings.TrimSpace(said.String()); text != "" {
		return "", fmt.Errorf("systemctl %s: %s", strings.Join(args, " "), text)
	}
	return "", fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), err)
}
