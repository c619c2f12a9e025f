package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/gatelodge/gatelodge/internal/store"
)

// A daemon that starts while a command looks at the machine waits for it, and
// is not the one that has to be started again.
func TestAStartWaitsForACommand(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "state"), nil)
	if err != nil {
		t.Fatal(err)
	}
	held, err := st.Lock()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockStore(ctx, st); !errors.Is(err, context.Canceled) {
		t.Errorf("a start that is stopped: %v", err)
	}
	done := make(chan error)
	go func() {
		lock, err := lockStore(t.Context(), st)
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
