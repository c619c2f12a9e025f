package supervise

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// manager is the service manager's end of the notifications.
type manager struct{ *net.UnixConn }

// newManager returns a service manager with a watchdog, and this process as
// its service.
func newManager(t *testing.T, watchdog time.Duration) (manager, *systemd.Service) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // nothing is written
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	s, err := systemd.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	return manager{c}, s
}

// heard returns what has been said, one line each.
func (m manager) heard(t *testing.T) string {
	t.Helper()
	var all []string
	data := make([]byte, 4096)
	for {
		if err := m.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := m.Read(data)
		if err != nil {
			return strings.Join(all, "; ")
		}
		all = append(all, string(data[:n]))
	}
}

func newTestLife(s *systemd.Service, l *Loop, needs ...Task) *Life {
	log := slog.New(slog.DiscardHandler)
	return NewLife(LifeOptions{
		Service: s, Log: log, Events: event.Log{To: log}, Loop: l, Needs: needs,
		Started: func() {}, Summary: func() string { return "" },
	})
}

func idle() *Loop {
	return NewLoop("work", time.Hour, event.Log{To: slog.New(slog.DiscardHandler)}, func(context.Context) error { return nil })
}

func TestReadyIsSaidOnceAllStands(t *testing.T) {
	m, s := newManager(t, time.Minute)
	machine, channel := idle(), idle()
	l := newTestLife(s, machine, machine, channel)
	started := 0
	l.started = func() { started++ }
	channel.Reached()
	channel.Reached() // twice is once
	if next := l.next(); next != machine.Ready() || m.heard(t) != "" || IsReady(l) {
		t.Error("with half of it standing it is ready")
	}
	machine.Reached()
	for range 2 {
		if next := l.next(); next != nil || !IsReady(l) {
			t.Error("with all of it standing it is not ready")
		}
	}
	if said := m.heard(t); said != "READY=1" || started != 1 {
		t.Errorf("with all of it standing: %q, started %d times", said, started)
	}
}

// What is ready is said as soon as it is, not at the next look.
func TestReadyIsSaidAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machine := idle()
		l := newTestLife(nil, machine, machine)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		synctest.Wait()
		machine.Reached()
		synctest.Wait()
		if !IsReady(l) {
			t.Error("it is not ready")
		}
		cancel()
		<-done
	})
}

func TestAReloadIsSaid(t *testing.T) {
	m, s := newManager(t, time.Minute)
	machine := idle()
	l := newTestLife(s, machine, machine)
	wrong := errors.New("wrong")
	if err := l.Reloading(func() error { return wrong }); err != wrong || m.heard(t) != "" {
		t.Error("a reload before READY was said")
	}
	machine.Reached()
	l.next()
	m.heard(t)
	if err := l.Reloading(func() error { return wrong }); err != wrong {
		t.Errorf("the reload's error: %v", err)
	}
	said := m.heard(t)
	if !strings.HasPrefix(said, "RELOADING=1") || !strings.HasSuffix(said, "READY=1") {
		t.Errorf("heard %q", said)
	}
}

// The watchdog gets its sign while the loop comes round, however slowly, and
// none once it is stuck.
func TestThePulse(t *testing.T) {
	const watchdog = 30 * time.Second
	m, s := newManager(t, watchdog)
	for name, c := range map[string]struct {
		working, longest time.Duration
		failed, ready    bool
		want             string
	}{
		"idle":                     {0, 0, false, true, "WATCHDOG=1"},
		"working":                  {time.Minute, 0, false, true, "WATCHDOG=1"},
		"stuck":                    {2 * time.Minute, 0, false, true, ""},
		"slow, as always":          {2 * time.Minute, 40 * time.Second, false, true, "WATCHDOG=1"},
		"slow, and stuck":          {4 * time.Minute, 40 * time.Second, false, true, ""},
		"fails again and again":    {0, 0, true, true, "WATCHDOG=1"},
		"starting":                 {time.Second, 0, false, false, "EXTEND_TIMEOUT_USEC=30000000"},
		"starting, and it fails":   {time.Second, 0, true, false, ""},
		"waits for the other part": {0, 0, false, false, ""},
	} {
		l := idle()
		if c.working > 0 {
			l.began = time.Now().Add(-c.working)
		}
		l.long, l.failed = c.longest, c.failed
		life := newTestLife(s, l)
		if c.ready {
			life.ready.reach()
		}
		life.beat()
		if got := m.heard(t); got != c.want {
			t.Errorf("%s: heard %q, wanted %q", name, got, c.want)
		}
	}
}

func TestTheStatusIsSaidWhenItChanges(t *testing.T) {
	m, s := newManager(t, time.Minute)
	l := newTestLife(s, idle())
	l.ready.reach()
	text := "no tunnel yet"
	l.summary = func() string { return text }
	l.beat()
	l.beat()
	text = "tunnel up, 3 forwards"
	l.beat()
	if got := m.heard(t); got != "STATUS=no tunnel yet; WATCHDOG=1; WATCHDOG=1; STATUS=tunnel up, 3 forwards; WATCHDOG=1" {
		t.Errorf("heard %q", got)
	}
}

// A round that hangs is seen from outside while it does.
func TestALoopKnowsHowLongItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLoop("work", time.Hour, event.Log{To: slog.New(slog.DiscardHandler)}, func(ctx context.Context) error {
			time.Sleep(time.Minute)
			return errors.New("too late")
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(40 * time.Second)
		if working, failed := l.State(); working != 40*time.Second || failed {
			t.Errorf("in its round: %s, %v", working, failed)
		}
		time.Sleep(20*time.Second + 100*time.Millisecond)
		if working, failed := l.State(); working != 0 || !failed || l.Longest() != time.Minute {
			t.Errorf("after it: %s, %v, %s", working, failed, l.Longest())
		}
		cancel()
		<-done
	})
}

func TestStoppingIsSaid(t *testing.T) {
	m, s := newManager(t, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newTestLife(s, idle()).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("life ended with %v", err)
	}
	if got := m.heard(t); !strings.HasSuffix(got, "STOPPING=1") {
		t.Errorf("heard %q", got)
	}
}
