package cli

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
		{"lab status", exitFailed, "", "gatelodge: error: no lab stands\ngatelodge: hint: gatelodge lab --keep\n"},
		{"lab shell visitor", exitFailed, "", "gatelodge: error: no lab stands\ngatelodge: hint: gatelodge lab --keep\n"},
		{"lab down", exitOK, "no lab stands\n", ""},
	} {
		var out, errOut bytes.Buffer
		code := Run(t.Context(), strings.Fields(c.args), nil, &out, &errOut)
		if code != c.code || out.String() != c.out || errOut.String() != c.err {
			t.Errorf("%s: code %d, output %q, errors %q; want %d, %q, %q", c.args, code, &out, &errOut, c.code, c.out, c.err)
		}
	}
	var errOut bytes.Buffer
	if code := Run(t.Context(), []string{"lab", "shell"}, nil, &bytes.Buffer{}, &errOut); code != exitUsage {
		t.Errorf("lab shell without a host: code %d, %s", code, &errOut)
	}
}
