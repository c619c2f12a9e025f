package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// A daemon that starts while a command looks at the machine waits for it, and
// is not the one that has to be started again.
// patience is far more than a command needs.
const patience = time.Minute

func TestAStartWaitsForACommand(t *testing.T) {
	st, err := Open(filepath.Join(t.TempDir(), "state"), nil)
	if err != nil {
		t.Fatal(err)
	}
	held, err := st.Lock()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := st.LockWithin(ctx, patience); !errors.Is(err, context.Canceled) {
		t.Errorf("a start that is stopped: %v", err)
	}
	done := make(chan error)
	go func() {
		lock, err := st.LockWithin(t.Context(), patience)
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
