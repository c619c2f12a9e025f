package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs until it is told to end.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once err is set
	err   error
}

// start starts cmd on the host, its output going to the end of a file.
func (h *Host) start(cmd *exec.Cmd, log string) (*process, error) {
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if err := h.ns.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("on %s: %w", h.Name, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// end sends a signal and waits until the process is gone.
func (p *process) end(ctx context.Context, s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Start starts the host's daemon, `gatelodge run`; Ready waits for it.
func (h *Host) Start() error {
	if h.PID() != 0 {
		return fmt.Errorf("the daemon of %s runs already", h.Name)
	}
	var err error
	cmd := h.command(context.Background(), h.lab.options.Binary, "--root", h.Root(), "run")
	h.daemon, err = h.start(cmd, h.LogFile())
	return err
}

// Stop asks the host's daemon to end, with SIGTERM, and waits until it has.
// What it set up stays.
func (h *Host) Stop(ctx context.Context) error {
	if h.daemon == nil {
		return nil
	}
	if err := h.daemon.end(ctx, syscall.SIGTERM); err != nil {
		return fmt.Errorf("the daemon of %s does not stop: %w", h.Name, err)
	}
	err := h.daemon.err
	h.daemon = nil
	if err != nil {
		return fmt.Errorf("the daemon of %s ended with %w", h.Name, err)
	}
	return nil
}

// Kill ends the host's daemon with SIGKILL.
func (h *Host) Kill() error {
	if h.daemon == nil {
		return nil
	}
	err := h.daemon.end(context.Background(), syscall.SIGKILL)
	h.daemon = nil
	return err
}

// PID is the process number of the host's daemon, 0 if none runs.
func (h *Host) PID() int {
	if h.daemon == nil {
		return 0
	}
	select {
	case <-h.daemon.ended:
		return 0
	default:
		return h.daemon.cmd.Process.Pid
	}
}

// LogFile is where the output of the host's daemon goes.
func (h *Host) LogFile() string { return filepath.Join(h.dir, "log") }

// Log returns what the host's daemons have written so far.
func (h *Host) Log() string {
	text, err := os.ReadFile(h.LogFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(text)
}

// LogTail returns the last n lines of Log.
func (h *Host) LogTail(n int) []string {
	text := strings.TrimSpace(h.Log())
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):]
}

// Status is what the lab reads of `gatelodge status --json`.
type Status struct {
	Role    string `json:"role"`
	Running bool   `json:"running"`
	Tunnel  Tunnel `json:"tunnel"` // on a gate
	Gates   []struct {
		Tunnel    Tunnel `json:"tunnel"`
		Connected bool   `json:"connected"`
	} `json:"gates"` // on a home
	Problems []string `json:"problems"`
	Forwards []struct {
		Name   string `json:"name"`
		State  string `json:"state"`
		Reason string `json:"reason"`
	} `json:"forwards"`
	Counters struct {
		Closed  uint64 `json:"closed"`
		Invalid uint64 `json:"invalid"`
		Spoofed uint64 `json:"spoofed"`
	} `json:"counters"`
}

// Tunnel is a WireGuard interface.
type Tunnel struct {
	Interface string `json:"interface"`
	Up        bool   `json:"up"`
	Device    string `json:"device"`
}

// Device says which WireGuard carries the host's tunnel.
func (s Status) Device() string {
	if len(s.Gates) > 0 {
		return s.Gates[0].Tunnel.Device
	}
	return s.Tunnel.Device
}

// Works reports whether the tunnel does its work: a gate's interface is up, a
// home's gate is connected.
func (s Status) Works() bool {
	if len(s.Gates) > 0 {
		return s.Gates[0].Connected
	}
	return s.Tunnel.Up
}

// Status asks the host's daemon how it is.
func (h *Host) Status(ctx context.Context) (Status, error) {
	var s Status
	out, err := h.Report(ctx, "--json")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, fmt.Errorf("on %s: status --json: %w", h.Name, err)
	}
	if !s.Running {
		return s, fmt.Errorf("the daemon of %s does not run", h.Name)
	}
	return s, nil
}

// Report returns what `gatelodge status` says, however well that is: its exit code
// is 0, 1 or 5.
func (h *Host) Report(ctx context.Context, flags ...string) (string, error) {
	out, err := h.Gatelodge(ctx, append([]string{"status"}, flags...)...)
	if exit, ok := errors.AsType[*ExitError](err); ok && out != "" && (exit.Status == 1 || exit.Status == 5) {
		return out, nil
	}
	return out, err
}

// readyTime is how long a daemon may take until its tunnel works.
const readyTime = 30 * time.Second

// Ready waits until the host's daemon says that its tunnel works.
func (h *Host) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	return Until(ctx, 50*time.Millisecond, func() error {
		if h.PID() == 0 {
			return final(fmt.Errorf("the daemon of %s has ended; it said:\n%s", h.Name, strings.Join(h.LogTail(10), "\n")))
		}
		s, err := h.Status(ctx)
		if err == nil && !s.Works() {
			err = fmt.Errorf("the tunnel of %s does not work", h.Name)
		}
		return err
	})
}

// finalError is one that trying again will not fix.
type finalError struct{ error }

func final(err error) error { return finalError{err} }

// Until calls try, with pauses, until it succeeds or ctx ends, and then returns
// the last error of try. Inside this package, try can also end it by an error
// that is final.
func Until(ctx context.Context, pause time.Duration, try func() error) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var last error
	for {
		err := try()
		var f finalError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &f):
			return f.error
		case ctx.Err() == nil || last == nil:
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (gave up: %w)", last, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
