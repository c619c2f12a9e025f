package home

import (
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// A handshake is made once per silence, and again only where one was made and
// nothing has come since: one that is not answered is for another address.
func TestWhenTheTunnelIsProvedAgain(t *testing.T) {
	var p proof
	stands := time.Unix(1, 0)
	for _, look := range []struct {
		what     string
		received uint64
		shaken   time.Time
		want     bool
	}{
		{"the silence begins", 5000, stands, true},
		{"visitors come", 9000, stands, false},
		{"a keepalive has come", 9032, stands, false},
		{"nothing has come", 9032, stands, true},
		{"the handshake is not answered", 0, time.Time{}, false},
		{"nor from another port", 0, time.Time{}, false},
		{"one is, from there", 92, stands, false},
	} {
		got := p.isDue(plan.ObservedPeer{ReceivedBytes: look.received, LatestHandshake: look.shaken})
		if got != look.want {
			t.Errorf("%s: due %t", look.what, got)
		}
		if got { // as carries does
			p = proof{begun: true, received: look.received}
		}
	}
}
