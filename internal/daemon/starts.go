package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// starts spaces out starts that fail one after the other, because the
// configuration file is wrong for instance: the service manager of ours starts
// a daemon that has ended again after a second, for ever. Their number outlives
// the process in a file, until a start succeeds or the machine is rebooted.
type starts struct {
	opts Options
	done atomic.Bool
}

func newStarts(o Options) *starts { return &starts{opts: o} }

// longestPause makes half a minute with the service manager's own second.
const longestPause = 29 * time.Second

// pauseAfter returns how long to wait after so many failed starts in a row. The
// first is not waited for: somebody may be watching.
func pauseAfter(failed int) time.Duration {
	if failed <= 1 {
		return 0
	}
	if failed > 6 {
		return longestPause
	}
	return min(time.Second<<(failed-2), longestPause)
}

// succeeded notes that the daemon does its work.
func (s *starts) succeeded() {
	s.done.Store(true)
	if err := ForgetFailedStarts(s.opts.Paths); err != nil {
		s.opts.Log.Warn("the next start that fails may be tried again late", "error", err)
	}
}

// failed holds the end of this process up for a while, where a service manager
// waits to start the next one.
func (s *starts) failed(ctx context.Context, why error) {
	if s.done.Load() || !s.opts.Service.Present() {
		return
	}
	pause := pauseAfter(s.count())
	if pause == 0 {
		return
	}
	s.opts.Log.Error("cannot start", "error", why, "again_in", pause+time.Second)
	if err := s.opts.Service.Status("cannot start: " + why.Error()); err != nil {
		s.opts.Log.Debug("cannot notify the service manager", "error", err)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// count counts this start among those that failed in a row.
func (s *starts) count() int {
	file := s.opts.Paths.FailedStarts()
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.opts.Log.Debug("cannot tell how many starts have failed", "error", err)
	}
	before, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || before < 0 {
		before = 0
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(before+1)+"\n"), 0o600); err != nil {
		s.opts.Log.Debug("cannot count the starts that have failed", "error", err)
	}
	return before + 1
}

// ForgetFailedStarts lets the next start that fails be tried again at once: for
// when its owner has mended something.
func ForgetFailedStarts(p Paths) error {
	if err := os.Remove(p.FailedStarts()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
