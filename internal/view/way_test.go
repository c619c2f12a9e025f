package view

import (
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/doctor"
)

func TestTheWayFitsItsTerminal(t *testing.T) {
	way := []doctor.Walked{
		{Hop: doctor.AtTunnel, State: doctor.Sound, Text: "the gate answers after 0.8 ms, MTU 1420, large packets pass both ways"},
		{Hop: doctor.AtGate, State: doctor.Unseen, Text: "the gate has told nothing of its own"},
		{Hop: doctor.AtService, State: doctor.Defective, Text: "2 of 3 published ports have a service"},
		{Hop: doctor.AtMachine, State: doctor.Worrying, Text: "nft 1.0.6\x1b[2J"},
	}
	for columns, want := range map[int]string{
		0: `✓ tunnel           the gate answers after 0.8 ms, MTU 1420, large packets pass both ways
- gate's firewall  not looked at: the gate has told nothing of its own
✗ service          2 of 3 published ports have a service
! machine          nft 1.0.6�[2J`,
		60: `✓ tunnel           the gate answers after 0.8 ms, MTU 1420,
                   large packets pass both ways
- gate's firewall  not looked at: the gate has told nothing
                   of its own
✗ service          2 of 3 published ports have a service
! machine          nft 1.0.6�[2J`,
	} {
		if got := strings.Join(Way(way, Style{Columns: columns}), "\n"); got != want {
			t.Errorf("in %d columns:\n%s", columns, got)
		}
	}
}
