package counted_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/counted"
	"github.com/gatelodge/gatelodge/internal/status"
)

// What a gate has counted arrives at home as it was, whatever the two clocks say.
func TestWhatIsCountedComesHome(t *testing.T) {
	atGate, atHome := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)
	there := []status.Forward{
		{Name: "web", In: &status.Traffic{Packets: 1, Bytes: 2}, Out: &status.Traffic{Packets: 3, Bytes: 4}, Connections: 5, Limited: 6, LastConnection: atGate.Add(-12 * time.Second)},
		{Name: "game", In: &status.Traffic{}, Out: &status.Traffic{}},
		{Name: "refused"},
	}
	text, err := json.Marshal(counted.Tell([]control.Verdict{{Name: "refused"}, {Name: "game"}, {Name: "web"}, {Name: "unknown"}}, there, atGate))
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []control.Verdict
	if err := json.Unmarshal(text, &verdicts); err != nil {
		t.Fatal(err)
	}
	here := make([]status.Forward, len(verdicts))
	for i, v := range verdicts {
		here[i].Name = v.Name
		counted.Hear(&here[i], v.Traffic, atHome)
	}
	there[0].LastConnection = atHome.Add(-12 * time.Second)
	if diff := cmp.Diff([]status.Forward{there[2], there[1], there[0], {Name: "unknown"}}, here); diff != "" {
		t.Error(diff)
	}
}

// A gate may say anything.
func TestAGateThatCountsWrong(t *testing.T) {
	var f status.Forward
	counted.Hear(&f, &control.Traffic{SinceLast: -time.Hour}, time.Unix(0, 0))
	if !f.LastConnection.IsZero() {
		t.Errorf("a visit to come: %v", f.LastConnection)
	}
}
