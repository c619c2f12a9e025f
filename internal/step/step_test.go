//go:build !steps

package step

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// What is shipped has no switch that anybody could find, and marking a moment
// costs nothing.
func TestTheShippedProgramHasNoSteps(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	// Put together here, so that it does not stand in this program either.
	name := strings.Join([]string{"GATELODGE", "STEPS"}, "_")
	if bytes.Contains(program, []byte(name)) {
		t.Errorf("this build reads %s", name)
	}
	t.Setenv(name, t.TempDir())
	text := string(program[:1])
	if n := testing.AllocsPerRun(100, func() { At("doing", text) }); n != 0 {
		t.Errorf("a moment costs %v allocations", n)
	}
}
