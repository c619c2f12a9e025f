package plan

import (
	"testing"

	"github.com/gatelodge/gatelodge/internal/config"
)

func TestBothSidesHaveTheSmallerMTU(t *testing.T) {
	for _, c := range []struct {
		what                     string
		set, underlay, gate, mtu int
	}{
		{"the gate says nothing", 0, 1500, 0, 1420},
		{"the same", 0, 1500, 1420, 1420},
		{"the gate's is smaller", 0, 1500, 1380, 1380},
		{"home's is smaller", 0, 1400, 1420, 1320},
		{"set by the owner", 1420, 1500, 1380, 1420},
		{"nonsense of a gate", 0, 1500, 1, 1280},
		{"a gate of jumbo frames", 0, 9000, 8920, 1420},
		{"home's way not known yet", 0, 0, 1380, 1380},
	} {
		var home config.Home
		home.Tunnel.MTU = c.set
		if got := homeMTU(home, c.gate, Facts{UnderlayMTU: c.underlay}); got != c.mtu {
			t.Errorf("%s: %d, want %d", c.what, got, c.mtu)
		}
	}
}
