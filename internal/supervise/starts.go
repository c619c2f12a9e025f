package supervise

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// Starts spaces out starts that fail one after the other, because the
// configuration file is wrong for instance: the service manager of ours starts
// a daemon that has ended again after a second, for ever. Their number outlives
// the process in a file, until a start succeeds or the machine is rebooted.
type Starts struct {
	file    string
	service *systemd.Service
	events  event.Recorder
	log     *slog.Logger
	done    atomic.Bool
}

// NewStarts returns the starts of a service, which are counted in a file. The
// service is nil where no service manager starts it.
func NewStarts(file string, service *systemd.Service, events event.Recorder, log *slog.Logger) *Starts {
	return &Starts{file: file, service: service, events: events, log: log}
}

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

// Succeeded notes that the daemon does its work.
func (s *Starts) Succeeded() {
	s.done.Store(true)
	if err := ForgetFailedStarts(s.file); err != nil {
		s.log.Warn("the next start that fails may be tried again late", "error", err)
	}
}

// Failed holds the end of this process up for a while, where a service manager
// waits to start the next one.
func (s *Starts) Failed(ctx context.Context, why error) {
	if s.done.Load() || !s.service.Present() {
		return
	}
	pause := pauseAfter(s.count())
	if pause == 0 {
		return
	}
	s.events.Record(event.StartFailed{Why: why.Error(), AgainIn: pause + time.Second})
	if err := s.service.Status("cannot start: " + why.Error()); err != nil {
		s.log.Debug("cannot notify the service manager", "error", err)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// count counts this start among those that failed in a row.
func (s *Starts) count() int {
	text, err := os.ReadFile(s.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Debug("cannot tell how many starts have failed", "error", err)
	}
	before, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || before < 0 {
		before = 0
	}
	if err := os.WriteFile(s.file, []byte(strconv.Itoa(before+1)+"\n"), 0o600); err != nil {
		s.log.Debug("cannot count the starts that have failed", "error", err)
	}
	return before + 1
}

// ForgetFailedStarts forgets those in a file, which lets the next start that fails be tried again at once: for
// when its owner has fixed something.
func ForgetFailedStarts(file string) error {
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
