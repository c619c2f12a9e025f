package gate

import (
	"log/slog"
	"testing"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// A disk that takes no writes keeps no gate from being ready: the service manager
// would end it, and with it what it does for visitors.
func TestAGateIsReadyThoughTheDiskTakesNoWrites(t *testing.T) {
	paths := layout.Paths{Root: t.TempDir()}
	c, err := config.ParseGate("gate.toml", []byte("version = 1\n"))
	must(t, err)
	st, err := store.Open(paths.State(), nil)
	must(t, err)
	log := slog.New(slog.DiscardHandler)
	g, err := New(t.Context(), Options{Paths: paths, Log: log, Events: event.Log{To: log}, Config: c, Store: st, Machine: hosttest.New(hosttest.VPS())})
	must(t, err)
	must(t, g.memory.begin())
	must(t, st.Close()) // no write succeeds from now on
	if _, err := g.reconciler.Round(t.Context()); err == nil {
		t.Fatal("the round hides that the ports of sshd could not be written down")
	}
	if !supervise.IsReady(g.loop) {
		t.Error("the machine stands, and the gate is not ready")
	}
}
