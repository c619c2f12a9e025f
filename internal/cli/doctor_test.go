package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/local"
)

// A program reads remedies as the file of those that were agreed to has them, and
// not as the commands that people read.
func TestRemediesAsJSON(t *testing.T) {
	const rule = "ufw allow in on gatelodge"
	var out, compact bytes.Buffer
	a := &command.App{Out: &out, AsJSON: true}
	if err := showDiagnosis(a, local.DoctorResponse{Remedies: []string{rule, "rm -rf /"}}); err != nil {
		t.Fatal(err)
	}
	if err := json.Compact(&compact, out.Bytes()); err != nil || !strings.Contains(compact.String(), `"remedies":[{"tool":"ufw","interface":"gatelodge"}]`) {
		t.Errorf("%v: %s", err, compact.String())
	}
}
