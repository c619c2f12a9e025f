package gate

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/heard"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/store"
)

// newReporting returns a gate on a machine in memory, of one home that publishes so
// many forwards.
func newReporting(t testing.TB, count int) (*Gate, *hosttest.Machine) {
	t.Helper()
	paths := layout.Paths{Root: t.TempDir()}
	c, err := config.ParseGate("gate.toml", []byte("version = 1\n"))
	must(t, err)
	st, err := store.Open(paths.State(), nil)
	must(t, err)
	machine, log := hosttest.New(hosttest.VPS()), slog.New(slog.DiscardHandler)
	g, err := New(t.Context(), Options{Paths: paths, Log: log, Events: event.Log{To: log}, Config: c, Store: st, Machine: machine})
	must(t, err)
	home := registry.Home{Name: "attic", PublicKey: key.Public{1}, Address4: netip.MustParseAddr("10.99.0.2"), Enrolled: time.Now()}
	counted := map[uint32]firewall.ForwardCounters{}
	for i := range count {
		id := uint32(i + 1)
		home.Forwards = append(home.Forwards, registry.Forward{
			Granted: true, ID: id, Families: forward.Families{IPv4: true},
			Wanted: forward.Published{Name: fmt.Sprintf("service-%d", i), Families: forward.Families{IPv4: true}, Ports: ports(t, fmt.Sprintf("%d/tcp", 10_000+i))},
		})
		counted[id] = firewall.ForwardCounters{NewConnections: 1}
	}
	g.memory.state.Registry.Homes = []registry.Home{home}
	machine.Do(func(w *hosttest.World) { w.Counters.Forwards = counted })
	return g, machine
}

// looks counts how often the machine was looked at, or anything was done to it.
func looks(m *hosttest.Machine) int {
	n := 0
	for _, op := range []hosttest.Op{
		hosttest.Facts, hosttest.Observe, hosttest.Diff, hosttest.Apply, hosttest.MTUTo, hosttest.Glance, hosttest.Peers, hosttest.Renew,
		hosttest.Redial, hosttest.Drop, hosttest.CutForwards, hosttest.TrimForwards, hosttest.FreeFlows, hosttest.EndVisits, hosttest.Counters,
		hosttest.Sessions, hosttest.RootPorts, hosttest.SSHPorts, hosttest.Watch, hosttest.Led, hosttest.TraceVisits,
	} {
		n += m.Count(op)
	}
	return n
}

// A report is made from what is known: it looks at nothing, and waits for nobody
// who does, however long that takes.
func TestAReportLooksAtNothing(t *testing.T) {
	g, machine := newReporting(t, 3)
	_, err := g.reconciler.Round(t.Context())
	must(t, err)
	release := machine.Hang(hosttest.Facts)
	defer release()
	before, hanging := machine.Count(hosttest.Facts), make(chan struct{})
	go func() {
		defer close(hanging)
		_, _ = g.reconciler.Round(t.Context())
	}()
	waitFor(t, "a round that hangs", func() bool { return machine.Count(hosttest.Facts) > before })
	was := looks(machine)
	r := g.Report(t.Context())
	if now := looks(machine); now != was {
		t.Errorf("the machine was looked at %d times for a report", now-was)
	}
	if r.Seen.IsZero() || time.Since(r.Seen) > time.Minute || !r.Tunnel.Up || r.Tunnel.Interface != "gatelodge" || len(r.Forwards) != 3 || len(r.Homes) != 1 || len(r.Drift) != 0 {
		t.Errorf("%+v", r)
	}
	data, err := json.Marshal(r)
	must(t, err)
	if !strings.HasPrefix(string(data), `{"schema":2,`) || strings.Contains(string(data), "null") {
		t.Errorf("%s", data)
	}
	release()
	<-hanging
}

// A home that asks is told what was counted of its forwards, and when each was
// visited last.
func TestAHomeIsToldWhatWasCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, machine := newReporting(t, 2)
		_, err := g.reconciler.Round(t.Context())
		must(t, err)
		go func() { _ = g.reconciler.NewGlances(g.events).Run(t.Context()) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		machine.Do(func(w *hosttest.World) {
			w.Counters.Forwards = map[uint32]firewall.ForwardCounters{1: {NewConnections: 1}, 2: {NewConnections: 9, In: firewall.Count{Packets: 20, Bytes: 800}}}
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		s, err := channel{g}.State(t.Context(), netip.MustParseAddr("10.99.0.2"))
		must(t, err)
		if a, b := s.Verdicts[0].Traffic, s.Verdicts[1].Traffic; a == nil || b == nil || a.Connections != 1 || a.SinceLast != 0 ||
			b.Connections != 9 || b.InBytes != 800 || b.SinceLast.Round(10*time.Second) != time.Minute {
			t.Errorf("it is told %+v and %+v", a, b)
		}
	})
}

// Whether a home is connected is one thing in report, summary and count.
func TestConnectedHasOneMeaning(t *testing.T) {
	g, _ := newReporting(t, 0)
	_, err := g.reconciler.Round(t.Context())
	must(t, err)
	g.memory.problems = nil                                                                                                                     // the summary would tell of one
	g.silences.Due(time.Now(), []plan.ObservedPeer{{PublicKey: key.Public{1}, ReceivedBytes: 9}, {PublicKey: key.Public{7}, ReceivedBytes: 9}}) // and an invite
	if r, s := g.Report(t.Context()), g.summary(); !r.Homes[0].Connected || s != "1 of 1 homes connected, 0 forwards" {
		t.Errorf("%+v, and in a line %q", r.Homes[0], s)
	}
	g.silences.Due(time.Now().Add(-heard.SilentAfter), nil)
	if r, s := g.Report(t.Context()), g.summary(); r.Homes[0].Connected || s != "0 of 1 homes connected, 0 forwards" {
		t.Errorf("%+v, and in a line %q", r.Homes[0], s)
	}
}

// A status call as the daemon answers it: report and JSON. At 500 forwards it is to
// stay below 10 ms.
func BenchmarkReport(b *testing.B) {
	for _, count := range []int{1, 500, 10_000} {
		b.Run(fmt.Sprintf("%d forwards", count), func(b *testing.B) {
			g, _ := newReporting(b, count)
			if _, err := g.reconciler.Round(b.Context()); err != nil {
				b.Fatal(err)
			}
			bytes := 0
			for b.Loop() {
				data, err := json.Marshal(g.Report(b.Context()))
				if err != nil {
					b.Fatal(err)
				}
				bytes = len(data)
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/op")
			b.ReportMetric(float64(bytes), "B-json")
		})
	}
}
