package command

import (
	"bytes"
	"strings"
	"testing"
)

// TestLabWithoutALab is what the commands for a standing lab say when none
// stands.
func TestLabWithoutALab(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	for _, c := range []struct {
		args string
		code int
		out  string
		err  string
	}{
		{"status", exitFailed, "", "gatelodge: error: no lab is running\ngatelodge: hint: gatelodge lab --keep\n"},
		{"shell visitor", exitFailed, "", "gatelodge: error: no lab is running\ngatelodge: hint: gatelodge lab --keep\n"},
		{"down", exitOK, "no lab is running\n", ""},
	} {
		var out, errOut bytes.Buffer
		code := Run(t.Context(), strings.Fields(c.args), nil, &out, &errOut)
		if code != c.code || out.String() != c.out || errOut.String() != c.err {
			t.Errorf("%s: code %d, output %q, errors %q; want %d, %q, %q", c.args, code, &out, &errOut, c.code, c.out, c.err)
		}
	}
	var errOut bytes.Buffer
	if code := Run(t.Context(), []string{"shell"}, nil, &bytes.Buffer{}, &errOut); code != exitUsage {
		t.Errorf("lab shell without a host: code %d, %s", code, &errOut)
	}
}

// The lab runs the real program: without it there is nothing to show.
func TestLabWithoutGatelodge(t *testing.T) {
	for _, c := range []struct{ program, says string }{
		{"", "gatelodge: error: the lab runs the real gatelodge, and it is missing: gatelodge not found in "},
		{"/absent/gatelodge", "gatelodge: error: GATELODGE_LAB_PROGRAM names no program: "},
	} {
		t.Setenv(envProgram, c.program)
		var errOut bytes.Buffer
		t.Setenv("PATH", "")
		_, err := findProgram()
		if code := report(&errOut, err); code != exitFailed || !strings.HasPrefix(errOut.String(), c.says) {
			t.Errorf("code %d, %s; want %q", code, &errOut, c.says)
		}
	}
}
