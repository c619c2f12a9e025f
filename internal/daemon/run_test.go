package daemon

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/gatelodge/gatelodge/internal/layout"
)

// A daemon that cannot start says so to its caller.
func TestRunReturnsWhyItCannotStart(t *testing.T) {
	o := Options{Paths: layout.Paths{Root: t.TempDir()}, Log: slog.New(slog.DiscardHandler)}
	if err := Run(t.Context(), o); !errors.Is(err, layout.ErrNoRole) {
		t.Errorf("error %v", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(stopped, o); !errors.Is(err, layout.ErrNoRole) {
		t.Errorf("told to stop, it hides %v", err)
	}
}
