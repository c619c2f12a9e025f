package cli

import (
	"bytes"
	"strings"
	"testing"
)

// Tab offers what there is: names of forwards, and no files where none are taken.
func TestTabOffersNames(t *testing.T) {
	places := instances(t)
	for _, c := range []struct{ place, line, want string }{
		{"home", "unexpose ", "web\ngame\n:4\n"},
		{"home", "rm ", "web\ngame\n:4\n"},
		{"nowhere", "unexpose ", ":4\n"},
		{"gate", "unexpose ", ":4\n"},
		{"gate", "gate revoke ", ":4\n"}, // no daemon answers
		{"home", "expose ", ":4\n"},
		{"home", "check ", ":0\n"},
	} {
		var out, errOut bytes.Buffer
		args := append([]string{"--root", places[c.place], "__complete"}, strings.Fields(c.line)...)
		code := Run(t.Context(), append(args, ""), strings.NewReader(""), &out, &errOut)
		if code != 0 || out.String() != c.want {
			t.Errorf("%s$ gatelodge %s<Tab>: exit code %d, %q, %q", c.place, c.line, code, &out, &errOut)
		}
	}
}
