package command_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gatelodge/gatelodge/internal/cli/command"
)

// A command that has said all in its answer ends without another word; with an
// error beside, that one is said.
func TestAnOutcomeIsSilent(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var said bytes.Buffer
		if code := command.Report(&said, command.Outcome(command.ExitDiffers), asJSON); code != command.ExitDiffers || said.Len() > 0 {
			t.Errorf("exit code %d, %q", code, &said)
		}
		if code := command.Report(&said, errors.Join(command.Outcome(command.ExitDiffers), errors.New("no space left")), asJSON); code != command.ExitFailed || !bytes.Contains(said.Bytes(), []byte("no space left")) {
			t.Errorf("exit code %d, %q", code, &said)
		}
	}
}
