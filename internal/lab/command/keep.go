package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/demo"
	"github.com/gatelodge/gatelodge/internal/lab/standing"
)

// keep starts a lab in the background, and returns once it stands and has
// been probed.
func keep(c *cobra.Command, f flags) error {
	if err := lab.CheckPrerequisites(); err != nil {
		return err
	}
	if _, err := findProgram(); err != nil {
		return err
	}
	place, err := standing.FindPlace()
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
		err = fail("gatelodge lab down", "a lab is already running, since %s", s.Since.Format("15:04"))
	case errors.Is(err, standing.ErrNone):
		s, err = startHeld(c.Context(), place, c.ErrOrStderr(), f.quiet)
	}
	if err := errors.Join(err, release()); err != nil {
		return err
	}
	failed := printReport(c, f, s.Report)
	if !f.json {
		fmt.Fprintln(c.OutOrStdout())
		failed = errors.Join(failed, s.WriteText(c.OutOrStdout()))
	}
	return failed
}

// startHeld runs the hidden command hold as a session of its own. It prints where
// the lab is once it stands, and stays only if it is told that this was written
// down.
func startHeld(ctx context.Context, place standing.Place, steps io.Writer, quiet bool) (standing.Lab, error) {
	hold, err := startHold(place.LogFile())
	if err != nil {
		return standing.Lab{}, err
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
		return s, fail("", "interrupted; the lab is gone")
	}
	return s, fail("see "+place.LogFile(), "the lab did not start: %s", errors.Join(err, ended))
}

// word is what the command hold says, once: where the lab is, or why there is
// none.
type word struct {
	Standing standing.Lab `json:"standing"`
	Error    string       `json:"error,omitempty"`
}

// holder is a running command hold.
type holder struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.ReadCloser
}

func startHold(logFile string) (*holder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logFile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	h := &holder{cmd: exec.Command(self, "hold")}
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

// standing waits for the holder's word, and adds how the processes are known
// outside.
func (h *holder) standing(logFile string) (standing.Lab, error) {
	var w word
	if err := json.NewDecoder(h.out).Decode(&w); err != nil {
		return standing.Lab{}, fmt.Errorf("it said nothing: %w", err)
	}
	s := w.Standing
	if w.Error != "" {
		return s, errors.New(w.Error)
	}
	var err error
	if s.Supervisor, err = standing.NewProcess(h.cmd.Process.Pid); err != nil {
		return s, err
	}
	s.Log = logFile
	s.Inside, err = standing.NewProcess(s.Inside.PID)
	return s, err
}

// holdCommand is the process that holds a standing lab.
func holdCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "hold",
		Short:  "Hold a lab until a signal comes",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(c *cobra.Command, _ []string) error { return hold(c) },
	}
}

// hold makes a lab, says where it is, and keeps it until a signal comes.
func hold(c *cobra.Command) error {
	out := json.NewEncoder(c.OutOrStdout())
	said := false
	err := inside(c, false, func(ctx context.Context, l *lab.Lab, r demo.Report) error {
		said = true
		if err := out.Encode(word{Standing: standing.Describe(l, r)}); err != nil {
			return err
		}
		// A caller that is gone cannot write it down: nobody
		// would ever find it.
		if _, err := io.ReadFull(c.InOrStdin(), make([]byte, len("stay\n"))); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	if err != nil && !said {
		err = errors.Join(err, out.Encode(word{Error: err.Error()}))
	}
	return err
}
