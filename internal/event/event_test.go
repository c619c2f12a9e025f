package event

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
)

// all holds one fact of each kind.
var all = []Fact{
	Invited{Home: "attic"}, InviteEnded{Home: "attic"}, Enrolled{Home: "attic"}, EnrolmentRefused{Why: "used"}, Revoked{Home: "attic"},
	ForwardsAccepted{Home: "attic", Forwards: 3}, ForwardsDelayed{Home: "attic"}, ForwardEnded{Home: "attic", Forward: "web"}, InputOnTrial{Closes: []string{"80/tcp"}}, InputKept{}, InputReverted{},
	HomeConnected{Home: "attic"}, HomeSilent{Home: "attic", For: time.Minute}, Started{}, Ready{}, Stopped{}, Stuck{}, StateDamaged{}, ConfigRefused{},
	Changed{What: "x"}, FirewallInTheWay{}, FirewallsClear{}, RemedyRenewed{}, TunnelUp{}, TunnelDown{},
	GateUnreachable{}, TunnelNotLeft{}, EndpointNotSaved{}, ForwardPublished{Forward: "web"}, ForwardRefused{}, TaskFailed{}, TaskRecovered{}, TaskEnded{}, StartFailed{}, LeftOut{Facts: 1},
}

func TestEveryKindHasANameOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range all {
		line := f.Line()
		if !regexp.MustCompile(`^[a-z]+\.[a-z_]+$`).MatchString(line.Kind) || seen[line.Kind] {
			t.Errorf("%T: kind %q is not one of its own, or no name", f, line.Kind)
		}
		if line.Text == "" {
			t.Errorf("%T has no sentence", f)
		}
		seen[line.Kind] = true
	}
}

// What the log says of a fact is what its JSON holds, by the same value.
func TestTheLogLineAndTheJSONAreOneFact(t *testing.T) {
	var out bytes.Buffer
	log := Log{slog.New(slog.NewTextHandler(&out, nil))}
	f := ForwardsAccepted{Home: "attic", Generation: 7, Forwards: 3}
	log.Record(f)
	for _, want := range []string{"level=INFO", `msg="accepted forwards"`, "home=attic", "generation=7", "forwards=3"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log line %q lacks %s", out.String(), want)
		}
	}
	data, err := json.Marshal(Event{At: time.Unix(1, 0).UTC(), Fact: f})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"at":"1970-01-01T00:00:01Z","kind":"forwards.accepted","level":"INFO","text":"accepted forwards","fact":{"home":"attic","generation":7,"forwards":3}}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
}
