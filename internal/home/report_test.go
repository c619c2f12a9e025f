package home

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// facts keeps what was recorded.
type facts []event.Fact

func (f *facts) Record(fact event.Fact) { *f = append(*f, fact) }

// newReporting returns a home on a machine in memory that publishes so many
// forwards.
func newReporting(t testing.TB, count int) (*Home, *hosttest.Machine) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	text.WriteString("version = 1\n")
	for i := range count {
		fmt.Fprintf(&text, "[forward.service-%d]\nports = [\"%d/tcp\"]\n", i, 10_000+i)
	}
	c, err := config.ParseHome("home.toml", []byte(text.String()))
	must(err)
	paths := layout.Paths{Root: t.TempDir()}
	st, err := store.Open(paths.State(), nil)
	must(err)
	private, err := key.NewPrivate()
	must(err)
	must(st.Save(membership.StoredName, membership.Memory{PrivateKey: store.PrivateKey{Private: private}, Joined: &membership.Membership{
		Name: "attic", Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2")}, GatePublicKey: key.Public{1},
		GateAddresses: []netip.Addr{netip.MustParseAddr("10.99.0.1")}, ControlPort: 55108, Endpoints: []string{"198.51.100.1:55107"},
	}}))
	machine, log := hosttest.New(hosttest.Server()), slog.New(slog.DiscardHandler)
	h, err := New(t.Context(), Options{Paths: paths, Log: log, Events: new(facts), Config: c, Store: st, Machine: machine})
	must(err)
	if _, err := h.link.reconciler.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h, machine
}

// looks counts how often the machine was looked at.
func looks(m *hosttest.Machine) int {
	n := 0
	for _, op := range []hosttest.Op{
		hosttest.Facts, hosttest.Observe, hosttest.Diff, hosttest.Apply, hosttest.MTUTo, hosttest.Glance, hosttest.Peers, hosttest.Renew,
		hosttest.Redial, hosttest.EndVisits, hosttest.Counters, hosttest.Led, hosttest.Watch,
	} {
		n += m.Count(op)
	}
	return n
}

func TestAReportLooksAtNothing(t *testing.T) {
	h, machine := newReporting(t, 3)
	l := h.link
	l.push.refresh()
	l.push.verdicts = byName([]control.Verdict{{Name: "service-0", State: control.Granted}, {Name: "service-1", State: control.Refused, Reason: "no"}})
	was := looks(machine)
	r := h.Report(t.Context())
	if now := looks(machine); now != was {
		t.Errorf("the machine was looked at %d times for a report", now-was)
	}
	if r.Seen.IsZero() || time.Since(r.Seen) > time.Minute || len(r.Gates) != 1 || len(r.Forwards) != 3 || len(r.Drift) != 0 {
		t.Fatalf("%+v", r)
	}
	gate := r.Gates[0]
	if gate.Name != "198.51.100.1:55107" || r.Forwards[0].Gate != gate.Name || !gate.Tunnel.Up || gate.Connected || r.Works() {
		t.Errorf("before the gate has answered: %+v", gate)
	}
	if gate.Forwards != 1 || gate.Refused != 1 || gate.Pending != 1 {
		t.Errorf("the forwards' states are counted as %+v", gate)
	}
	l.push.take([]control.Verdict{{Name: "service-0", State: control.Granted, Traffic: &control.Traffic{InBytes: 7, Connections: 3, SinceLast: time.Minute}}})
	if f := h.Report(t.Context()).Forwards[0]; f.State != status.Granted || f.In == nil || f.In.Bytes != 7 || f.Connections != 3 || time.Since(f.LastConnection).Round(time.Second) != time.Minute {
		t.Errorf("what the gate has counted is shown as %+v", f)
	}
	l.keep.isUp()
	if r = h.Report(t.Context()); !r.Gates[0].Connected || !r.Works() || !strings.HasPrefix(h.summary(), "tunnel up") {
		t.Errorf("the gate answers: %+v, and in a line %q", r.Gates[0], h.summary())
	}
	data, err := json.Marshal(r)
	if err != nil || !strings.HasPrefix(string(data), `{"schema":2,`) || strings.Contains(string(data), "null") {
		t.Errorf("%s, %v", data, err)
	}
}

// What becomes of the tunnel, and of what is published, is told once for each
// change.
func TestTheTunnelsAndTheForwardsFacts(t *testing.T) {
	h, _ := newReporting(t, 1)
	l := h.link
	told := new(facts)
	l.keep.events, l.push.events = supervise.NewQuota(told), supervise.NewQuota(told)
	for range 2 {
		l.keep.isUp()
	}
	for range 2 {
		l.keep.silent()
		l.keep.note("no route")
	}
	for _, v := range []control.Verdict{{State: control.Refused, Reason: "no"}, {State: control.Refused, Reason: "no"}, {State: control.Granted}, {State: control.Granted}} {
		v.Name = "service-0"
		l.push.take([]control.Verdict{v})
	}
	var kinds []string
	for _, f := range *told {
		kinds = append(kinds, f.Line().Kind)
	}
	if got, want := strings.Join(kinds, " "), "tunnel.up tunnel.down tunnel.unreachable forward.refused forward.published"; got != want {
		t.Errorf("told %s, wanted %s", got, want)
	}
}

// A status call as the daemon answers it: report and JSON. At 500 forwards it is to
// stay below 10 ms. A home publishes 1024 at most.
func BenchmarkReport(b *testing.B) {
	for _, count := range []int{1, 500, 1000} {
		b.Run(fmt.Sprintf("%d forwards", count), func(b *testing.B) {
			h, _ := newReporting(b, count)
			for b.Loop() {
				if _, err := json.Marshal(h.Report(b.Context())); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/op")
		})
	}
}
