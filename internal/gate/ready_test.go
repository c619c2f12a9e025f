package gate

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// readyMachine is a machine that takes whatever is wanted.
type readyMachine struct{ Machine }

func (readyMachine) AdmitOnly(func(key.Public) bool) {}
func (readyMachine) Facts(context.Context, string) (plan.Facts, error) {
	return plan.Facts{SSHPorts: []uint16{2222}}, nil
}
func (readyMachine) Apply(context.Context, plan.State) ([]plan.Step, error) { return nil, nil }
func (readyMachine) Diff(context.Context, plan.State) ([]plan.Change, error)  { return nil, nil }
func (readyMachine) Glance(context.Context, plan.State) (plan.Observed, error) {
	return plan.Observed{}, nil
}
func (readyMachine) Counters(context.Context, string) (host.Counters, error) {
	return host.Counters{}, nil
}
func (readyMachine) CutForwards(plan.Marks, []uint32, []uint32) error    { return nil }
func (readyMachine) TrimForwards(plan.Marks, []host.ForwardChange) error { return nil }

func (readyMachine) FreeFlows(plan.Marks, forward.PortSet, []netip.Addr) error { return nil }

// A disk that takes no writes keeps no gate from being ready: the service manager
// would end it, and with it what it does for visitors.
func TestAGateIsReadyThoughTheDiskTakesNoWrites(t *testing.T) {
	paths := layout.Paths{Root: t.TempDir()}
	c, err := config.ParseGate("gate.toml", []byte("version = 1\n"))
	must(t, err)
	st, err := store.Open(paths.State(), nil)
	must(t, err)
	log := slog.New(slog.DiscardHandler)
	g, err := New(t.Context(), Options{Paths: paths, Log: log, Events: event.Log{To: log}, Config: c, Store: st, Machine: readyMachine{}})
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
