package daemon

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Whatever runs beside a reload sees the old configuration or the new one, and
// never half of each. It is the race detector that fails here.
func TestTheConfigurationIsReadUnderItsLock(t *testing.T) {
	h := homeOf(t, &fakeGate{}, new(bytes.Buffer), "web")
	h.opts.Paths = Paths{Root: t.TempDir()}
	h.host = new(host.Host)
	h.ready = newReadiness(machineStands)
	h.config.Tunnel.Interface = "gatelodge"
	file := h.opts.Paths.ConfigFile(plan.Home)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("version = 1\n[gate]\nendpoints = [\"198.51.100.1:55107\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := h.reload(); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(300 * time.Millisecond)
	var wait sync.WaitGroup
	for _, beside := range []func(){
		func() {
			if err := h.reload(); err != nil {
				t.Error(err)
			}
		},
		func() { h.hasRoute(t.Context(), netip.MustParseAddr("127.0.0.1")) },
		func() { _, _ = h.keep.candidates(t.Context()) },
		func() { _ = h.push.round(t.Context()) },
		func() { h.want(plan.Facts{}); h.publish(plan.Facts{}, nil) },
		func() {
			h.summary()
			h.keepProblem()
			h.endpoints()
			h.ends()
			h.where()
			h.lastEndpoint()
		},
		func() { _ = h.refuseOverlap(plan.Facts{}) },
		func() { h.push.verdict("web"); h.push.problems(); h.push.public(); h.push.refresh() },
	} {
		wait.Go(func() {
			for time.Now().Before(end) {
				beside()
			}
		})
	}
	wait.Wait()
}
