package main

import (
	"context"
	"testing"
)

// A gate whose provider carries less than home's has the smaller MTU, and home
// takes it, so that no packet of its own has to be fragmented on the gate's side.
func TestHomeTakesTheGatesMTU(t *testing.T) {
	l := newJoinedLab(t)
	eventually(t, "home's own MTU", hasMTU(l.Home().Report, `"mtu": 1420`))
	run(t, l.Gate(), "ip", "link", "set", "eth0", "mtu", "1460")
	eventually(t, "the gate's new MTU", hasMTU(l.Gate().Report, `"mtu": 1380`))
	eventually(t, "home's new MTU", hasMTU(l.Home().Report, `"mtu": 1380`))
	reachable(t, l)
}

func hasMTU(report func(context.Context, ...string) (string, error), want string) func(context.Context) error {
	return func(ctx context.Context) error {
		s, err := report(ctx, "--json")
		if err != nil {
			return err
		}
		return mentions(s, want)
	}
}
