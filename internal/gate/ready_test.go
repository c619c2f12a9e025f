package gate

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// A disk that takes no writes keeps no gate from being ready: the service manager
// would end it, and with it what it does for visitors.
func TestAGateIsReadyThoughTheDiskTakesNoWrites(t *testing.T) {
	s := newSim(t)
	s.machine.Do(func(w *hosttest.World) { w.Facts.SSHPorts = append(w.Facts.SSHPorts, 2222) })
	s.disk.fill(true)
	if _, err := s.reconciler.Round(t.Context()); err == nil {
		t.Fatal("the round hides that the ports of sshd could not be written down")
	}
	if !supervise.IsReady(s.loop) {
		t.Error("the machine stands, and the gate is not ready")
	}
}

// READY is said once the machine stands and the control channel listens, in whichever
// order they come.
func TestReady(t *testing.T) {
	for _, last := range []string{"machine", "control channel"} {
		t.Run(last, func(t *testing.T) {
			s := newSim(t)
			must(t, os.MkdirAll(filepath.Dir(s.paths.Socket()), 0o700))
			taken := s.takePort(t)
			stands := s.machine.Hang(hosttest.Apply)
			ready := make(chan struct{})
			tasks, err := s.Tasks(nil, func() {}, func() { close(ready) })
			must(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- supervise.Run(ctx, s.events, tasks...) }()
			defer func() { cancel(); <-ended }()
			first, second := func() { must(t, taken.Close()) }, stands
			if last == "control channel" {
				first, second = second, first
			}
			first()
			waitFor(t, "what comes first", func() bool { return allBut(last, tasks) })
			select {
			case <-ready:
				t.Fatalf("it is ready without its %s", last)
			default:
			}
			second()
			select {
			case <-ready:
			case <-time.After(30 * time.Second):
				t.Errorf("it is not ready although it has its %s", last)
			}
		})
	}
}

// allBut reports whether that of the two is ready which does not come last.
func allBut(last string, tasks []supervise.Task) bool {
	other := map[string]string{"machine": "control channel", "control channel": "gate"}[last]
	i := slices.IndexFunc(tasks, func(task supervise.Task) bool { return task.String() == other })
	return supervise.IsReady(tasks[i])
}

// takePort has somebody else listen where the control channel will.
func (s *sim) takePort(t *testing.T) net.Listener {
	t.Helper()
	lc := net.ListenConfig{Control: freebind}
	l, err := lc.Listen(t.Context(), "tcp", s.memory.now().Control())
	must(t, err)
	return l
}
