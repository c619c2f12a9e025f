package main

import "testing"

// Homes reach this gate by its second address only. The kernel would answer from
// the first, and the home's router does not take that for an answer.
func TestAHomeJoinsByAGatesSecondAddress(t *testing.T) {
	l := newLab(t)
	run(t, l.Gate(), "ip", "addr", "add", "198.51.100.7/24", "dev", "eth0")
	gatelodge(t, l.Gate(), "gate", "init", "--yes", "--no-start", "--endpoint", "198.51.100.7:55107")
	must(t, l.Gate().Start())
	must(t, l.Gate().Ready(t.Context()))
	must(t, l.Join(t.Context(), l.Home()))
	must(t, l.Home().Expose(t.Context(), "7000", "--name", "echo"))
	reachable(t, l)
}
