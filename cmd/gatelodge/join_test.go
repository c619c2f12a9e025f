package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// invited returns an invite, and has the internet keep join from the gate.
func invited(t *testing.T) (l *lab.Lab, invite string) {
	t.Helper()
	l = newLab(t)
	must(t, l.InitGate(t.Context()))
	out, err := l.Gate().Gatelodge(t.Context(), "gate", "invite", "attic")
	must(t, err)
	run(t, l.Host("internet"), "nft", "add table inet cut; add chain inet cut drops { type filter hook forward priority 0; }; add rule inet cut drops udp dport 55107 drop")
	return l, strings.TrimSpace(out)
}

// What every user of the machine can read of a process does not hold the invite
// for longer than the program takes to start.
func TestTheInviteIsNotInTheCommandLine(t *testing.T) {
	l, invite := invited(t)
	self, err := os.Executable()
	must(t, err)
	half := len(invite) / 2 // as a terminal may have broken it
	for _, args := range [][]string{{invite}, {invite[:half], invite[half:]}, {"--no-start", invite}} {
		cmd := exec.Command(self, append([]string{"--root", l.Home().Root(), "join"}, args...)...)
		cmd.Env = append(os.Environ(), envProgram+"=1")
		must(t, l.Home().Launch(cmd))
		line := fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid)
		eventually(t, "the invite is gone", func(context.Context) error {
			text, err := os.ReadFile(line)
			must(t, err)
			words := strings.Split(string(text), "\x00")
			if len(words) < 5 {
				t.Fatalf("join has ended: %q", words)
			}
			for _, word := range words {
				if word != "" && strings.Contains(invite, word) {
					return fmt.Errorf("the command line is %q", words)
				}
			}
			return nil
		})
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // which says that it was killed
	}
}

// Where no terminal asks, the invite comes by standard input.
func TestAnInviteFromStandardInput(t *testing.T) {
	l, invite := invited(t)
	run(t, l.Host("internet"), "nft", "delete table inet cut")
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "--root", l.Home().Root(), "join", "--no-start")
	cmd.Env = append(os.Environ(), envProgram+"=1")
	cmd.Stdin = strings.NewReader(invite + "\n")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, l.Home().Launch(cmd))
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	must(t, cmd.Wait())
	contains(t, out.String(), "joined as attic")
}
