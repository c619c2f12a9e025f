package sources

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/control/ping"
)

// The memory of sources is bounded, and does not shut honest ones out.
func TestManySources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		addr := netip.MustParseAddr("10.0.0.1")
		for range ping.MaxSources {
			if !s.Allow(addr) {
				t.Fatalf("%v is refused", addr)
			}
			addr = addr.Next()
		}
		if s.Allow(addr) {
			t.Error("more sources than can be remembered")
		}
		time.Sleep(time.Minute)
		if !s.Allow(addr) {
			t.Errorf("settled sources stay: %d", len(s.all))
		}
	})
}
