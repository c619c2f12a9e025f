package gateside

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/status"
)

// What ends with a home is shown before it does.
func TestRevokeShowsWhatEnds(t *testing.T) {
	r := status.Report{
		Homes:   []status.Home{{Name: "attic", Connected: true}, {Name: "cellar"}},
		Invites: []status.Invite{{Name: "shed", Expires: time.Now()}},
		Forwards: []status.Forward{
			{Name: "web", Home: "attic", Ports: []string{"80/tcp", "443/tcp"}, State: status.Granted},
			{Name: "mail", Home: "attic", Ports: []string{"25/tcp"}, State: status.Refused},
			{Name: "other", Home: "cellar2", Ports: []string{"7000/tcp"}, State: status.Granted},
		},
	}
	for name, want := range map[string]string{
		"attic":  "home \"attic\" (connected): its key is forgotten, and this ends at once, with all connections:\n  web  80/tcp 443/tcp",
		"cellar": `home "cellar" (silent now): its key is forgotten; it publishes nothing`,
		"shed":   "",
		"atic":   `error: there is no home or open invite "atic"; did you mean "attic"?`,
		"x":      `error: there is no home or open invite "x"; gatelodge gate homes`,
	} {
		lines, err := endsWith(r, name)
		got := strings.Join(lines, "\n")
		if err != nil {
			got = "error: " + err.Error() + "; " + hintOf(t, err)
		}
		if got != want {
			t.Errorf("%s:\n%s\nnot\n%s", name, got, want)
		}
	}
	for i := range 12 {
		r.Forwards = append(r.Forwards, status.Forward{Name: strings.Repeat("a", i+1), Home: "attic", State: status.Granted})
	}
	if lines, err := endsWith(r, "attic"); err != nil || len(lines) != 12 || lines[11] != "  and 3 more" {
		t.Errorf("%q, %v", lines, err)
	}
}

func hintOf(t *testing.T, err error) string {
	t.Helper()
	p, ok := errors.AsType[*problem.Error](err)
	if !ok {
		t.Fatalf("%v has no hint", err)
	}
	return p.Hint
}
