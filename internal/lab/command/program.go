package command

import (
	"errors"
	"os"
	"os/exec"

	"github.com/gatelodge/gatelodge/internal/sibling"
)

// envProgram names the gatelodge to run as gate and as homes. A gatelodge that
// hands over to this program sets it to itself.
const envProgram = "GATELODGE_LAB_PROGRAM"

// findProgram returns the gatelodge that is to run in the lab.
func findProgram() (string, error) {
	if name := os.Getenv(envProgram); name != "" {
		file, err := exec.LookPath(name)
		if err != nil {
			return "", fail("", "%s names no program: %w", envProgram, err)
		}
		return file, nil
	}
	file, err := sibling.Find("gatelodge")
	if errors.Is(err, sibling.ErrNone) {
		return "", fail("install the package gatelodge, or put the program beside gatelodge-lab", "the lab runs the real gatelodge, and it is missing: %w", err)
	}
	return file, err
}
