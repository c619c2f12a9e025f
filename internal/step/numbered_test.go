//go:build steps

package step

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const walk = "walk"

// TestMain lets the test program be the one that is killed.
func TestMain(m *testing.M) {
	if os.Args[len(os.Args)-1] != walk {
		os.Exit(m.Run())
	}
	for _, what := range []string{"one", "two", "three"} {
		At(what, "thing")
	}
}

func TestOrders(t *testing.T) {
	for _, c := range []struct {
		order, log string
		killed     bool
	}{
		{"", "", false},
		{"kill 0 walk", "1 one thing\n2 two thing\n3 three thing\n", false},
		{"kill 2 walk", "1 one thing\n2 two thing\n", true},
		{"kill 4 walk", "1 one thing\n2 two thing\n3 three thing\n", false},
		{"kill 1 run", "", false},
	} {
		folder := t.TempDir()
		if c.order != "" {
			if err := os.WriteFile(filepath.Join(folder, OrderFile), []byte(c.order), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(os.Args[0], walk)
		cmd.Env = append(os.Environ(), EnvFolder+"="+folder)
		err := cmd.Run()
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if killed != c.killed || err != nil && !killed {
			t.Errorf("%q: %v", c.order, err)
		}
		log, err := os.ReadFile(filepath.Join(folder, LogFile))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		var got strings.Builder
		for line := range strings.Lines(string(log)) {
			_, rest, _ := strings.Cut(line, " ") // the process number
			got.WriteString(rest)
		}
		if got.String() != c.log {
			t.Errorf("%q: the log is %q, want %q", c.order, got.String(), c.log)
		}
	}
}
