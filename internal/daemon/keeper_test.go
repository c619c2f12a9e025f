package daemon

import (
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// A handshake is made once per silence, and again only where one was made and
// nothing has come since: one that is not answered is for another address.
func TestWhenTheTunnelIsProvedAnew(t *testing.T) {
	var p proof
	now := time.Now()
	stands := time.Unix(1, 0)
	for _, step := range []struct {
		what     string
		after    time.Duration
		received uint64
		shaken   time.Time
		want     bool
	}{
		{"the silence begins", 0, 5000, stands, true},
		{"the handshake is answered", 6 * time.Second, 92, stands, false},
		{"a keepalive has come", 6 * time.Second, 124, stands, false},
		{"none since", 12 * time.Second, 124, stands, false},
		{"none for long", 9 * time.Second, 124, stands, true},
		{"no handshake", 6 * time.Second, 0, time.Time{}, false},
		{"none from another port", time.Minute, 0, time.Time{}, false},
	} {
		now = now.Add(step.after)
		got := p.isDue(plan.ObservedPeer{ReceivedBytes: step.received, LatestHandshake: step.shaken}, now)
		if got != step.want {
			t.Errorf("%s: due %t", step.what, got)
		}
		if got { // as carries does
			p = proof{begun: true, received: step.received, heard: now}
		}
	}
}
