package daemon

import (
	"context"
	"errors"
	"testing"
)

// A daemon that starts while a command looks at the machine waits for it, and
// is not the one that has to be started again.
func TestAStartWaitsForACommand(t *testing.T) {
	g := newMemoryGate(t)
	held, err := g.store.Lock()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockStore(ctx, g.store); !errors.Is(err, context.Canceled) {
		t.Errorf("a start that is stopped: %v", err)
	}
	done := make(chan error)
	go func() {
		lock, err := lockStore(t.Context(), g.store)
		if err == nil {
			lock.Unlock()
		}
		done <- err
	}()
	held.Unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
