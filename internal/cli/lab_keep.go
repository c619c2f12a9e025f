package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// keepLab starts a lab in the background, and returns once it stands and has
// been probed.
func keepLab(c *cobra.Command, f labFlags) error {
	if err := lab.CheckPrerequisites(); err != nil {
		return err
	}
	place, err := lab.FindPlace()
	if err != nil {
		return err
	}
	release, err := place.Lock()
	if err != nil {
		return err
	}
	s, err := place.Load()
	switch {
	case err == nil:
		err = fail(exitFailed, "gatelodge lab down", "a lab stands already, since %s", s.Since.Format("15:04"))
	case errors.Is(err, lab.ErrNone):
		s, err = startLab(c.Context(), place, c.ErrOrStderr(), f.quiet)
	}
	if err := errors.Join(err, release()); err != nil {
		return err
	}
	failed := printLabReport(c, f, s.Report)
	if !f.json {
		fmt.Fprintln(c.OutOrStdout())
		failed = errors.Join(failed, s.WriteText(c.OutOrStdout()))
	}
	return failed
}

// startLab runs `lab hold` as a session of its own, which prints where it is
// once it stands, and stays only if it is told that this was written down.
func startLab(ctx context.Context, place lab.Place, steps io.Writer, quiet bool) (lab.Standing, error) {
	hold, err := startHold(place.LogFile())
	if err != nil {
		return lab.Standing{}, err
	}
	if !quiet {
		fmt.Fprintf(steps, "starting a lab in the background; its log is %s\n", place.LogFile())
	}
	stop := context.AfterFunc(ctx, func() { _ = hold.cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	s, err := hold.standing(place.LogFile())
	if err == nil {
		err = place.Save(s)
	}
	if err == nil {
		_, err = io.WriteString(hold.in, "stay\n")
	}
	if err == nil {
		return s, hold.cmd.Process.Release()
	}
	_ = hold.in.Close()
	ended := hold.cmd.Wait()
	if ctx.Err() != nil {
		return s, fail(exitFailed, "", "interrupted; the lab is gone")
	}
	return s, fail(exitFailed, "see "+place.LogFile(), "the lab did not come up: %s", errors.Join(err, ended, saidError(place.LogFile())))
}

// saidError returns the errors among what a program has written to its log.
func saidError(logFile string) error {
	text, err := os.ReadFile(logFile)
	if err != nil {
		return err
	}
	var said []error
	for line := range strings.Lines(string(text)) {
		if line, ok := strings.CutPrefix(line, "gatelodge: error: "); ok {
			said = append(said, errors.New(strings.TrimSpace(line)))
		}
	}
	return errors.Join(said...)
}

// labHold is a running `lab hold`.
type labHold struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.ReadCloser
}

func startHold(logFile string) (*labHold, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logFile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	h := &labHold{cmd: exec.Command(self, "lab", "hold")}
	h.cmd.Stderr = log
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if h.out, err = h.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return h, h.cmd.Start()
}

// standing waits for what `lab hold` prints, and adds how the processes are
// known outside.
func (h *labHold) standing(logFile string) (s lab.Standing, err error) {
	if err := json.NewDecoder(h.out).Decode(&s); err != nil {
		return s, err
	}
	if s.Supervisor, err = lab.NewProcess(h.cmd.Process.Pid); err != nil {
		return s, err
	}
	s.Log = logFile
	s.Inside, err = lab.NewProcess(s.Inside.PID)
	return s, err
}

// labHoldCommand is the process that holds a standing lab.
func labHoldCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "hold",
		Short:  "Hold a lab until a signal comes",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return insideLab(c, false, func(ctx context.Context, l *lab.Lab, r lab.Report) error {
				if err := json.NewEncoder(c.OutOrStdout()).Encode(l.Describe(r)); err != nil {
					return err
				}
				// Whoever started this and is gone cannot write it down:
				// nobody would ever find it.
				if _, err := io.ReadFull(c.InOrStdin(), make([]byte, len("stay\n"))); err != nil {
					return err
				}
				<-ctx.Done()
				return nil
			})
		},
	}
}
