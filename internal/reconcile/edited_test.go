package reconcile

import (
	"testing"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// What an owner has edited is told by apply, also where another round has carried it
// out meanwhile.
func TestWhatWasEditedIsTold(t *testing.T) {
	before := []plan.Choice{{Subject: "forward web", Summary: "443/tcp"}}
	after := []plan.Choice{{Subject: "forward web", Summary: "443/tcp"}, {Subject: "forward game", Summary: "25565/udp"}}
	added := plan.Change{Kind: plan.Added, Subject: "forward game", After: "25565/udp"}
	step := plan.Change{Kind: plan.Altered, Subject: "table inet gatelodge", Machine: true}
	for _, round := range [][]plan.Change{nil, {added, step}, {step}} {
		got := Edited(before, after, round)
		if len(got) == 0 || got[0].String() != added.String() || len(got) > 2 || len(round) > 0 && got[len(got)-1].Subject != step.Subject {
			t.Errorf("of %v: %v", round, got)
		}
	}
	if got := Edited(after, after, nil); len(got) > 0 {
		t.Errorf("nothing was edited, and it tells %v", got)
	}
}
