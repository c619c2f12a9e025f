package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// interruption is one command that somebody stops, and what was said.
type interruption struct {
	signal syscall.Signal
	after  time.Duration
	code   int // of the command; -1: the signal itself ended it
	said   string
}

// polite are the signals that a command answers.
var polite = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// moments are spread over what a command takes; it may have ended before the last.
var moments = []time.Duration{0, 25 * time.Millisecond, 60 * time.Millisecond, 120 * time.Millisecond, 250 * time.Millisecond}

// interrupted starts a command, stops it and waits for its end.
func interrupted(t *testing.T, h *lab.Host, s syscall.Signal, after time.Duration, args ...string) interruption {
	t.Helper()
	var said bytes.Buffer
	cmd, err := h.Begin(&said, args...)
	must(t, err)
	time.Sleep(after)
	if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return interruption{s, after, cmd.ProcessState.ExitCode(), said.String()}
}

// inForce returns the names of the forwards in home.toml, those that home's daemon
// says are granted, and those that the gate publishes for it.
func inForce(t *testing.T, l *lab.Lab) (file, home, gate []string) {
	t.Helper()
	text, err := os.ReadFile(homeFile(l))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "[forward."); ok {
			file = append(file, strings.TrimSuffix(strings.TrimSpace(name), "]"))
		}
	}
	for _, from := range []struct {
		host *lab.Host
		into *[]string
	}{{l.Home(), &home}, {l.Gate(), &gate}} {
		s, err := from.host.Status(t.Context())
		must(t, err)
		for _, f := range s.Forwards {
			if f.State == "granted" {
				*from.into = append(*from.into, f.Name)
			}
		}
	}
	for _, list := range [][]string{file, home, gate} {
		slices.Sort(list)
	}
	return file, home, gate
}

// agrees waits until file, daemon and gate are of one mind.
func agrees(t *testing.T, l *lab.Lab, what string) (file []string) {
	t.Helper()
	eventually(t, what+": file, daemon and gate agree", func(context.Context) error {
		var home, gate []string
		if file, home, gate = inForce(t, l); !slices.Equal(file, home) || !slices.Equal(file, gate) {
			return fmt.Errorf("the file has %q, the daemon %q, the gate %q", file, home, gate)
		}
		return nil
	})
	return file
}

// A change at home is whole or not at all, no matter who stops the command and when;
// the last line says what is in force, and nothing is published that no file holds.
func TestAStoppedChangeIsWholeOrNotAtAll(t *testing.T) {
	l := newJoinedLab(t)
	without := agrees(t, l, "before")
	var done, undone, killed int
	for _, s := range polite {
		for _, after := range moments {
			got := interrupted(t, l.Home(), s, after, "expose", "7050/tcp", "--name", "x")
			what := fmt.Sprintf("expose, signal %d after %s, exit code %d, said %q", s, after, got.code, got.said)
			now := agrees(t, l, what)
			is := slices.Contains(now, "x")
			switch {
			case got.code == 0 && is:
				done++
				gatelodge(t, l.Home(), "unexpose", "x")
			case got.code == 128+int(s) && !is && strings.HasSuffix(got.said, "gatelodge: stopped; 7050/tcp is not published\n"):
				undone++
			case got.code == -1 && !is:
				killed++ // before it could listen
			default:
				t.Errorf("%s: published is %q", what, now)
			}
		}
	}
	for _, s := range polite {
		for _, after := range moments {
			gatelodge(t, l.Home(), "expose", "7050/tcp", "--name", "x")
			got := interrupted(t, l.Home(), s, after, "unexpose", "x")
			what := fmt.Sprintf("unexpose, signal %d after %s, exit code %d, said %q", s, after, got.code, got.said)
			is := slices.Contains(agrees(t, l, what), "x")
			switch {
			case got.code == 0 && !is:
				done++
			case got.code == 128+int(s) && strings.Contains(got.said, "gatelodge: stopped; ") || got.code == -1 && is:
				undone++
			default:
				t.Errorf("%s: it is published: %t", what, is)
			}
			if is {
				gatelodge(t, l.Home(), "unexpose", "x")
			}
		}
	}
	if now := agrees(t, l, "after all"); !slices.Equal(now, without) {
		t.Errorf("published is %q, and was %q", now, without)
	}
	t.Logf("%d done, %d undone or not begun, %d ended by the signal itself", done, undone, killed)
}

// A command or a daemon that is killed leaves nothing published that no file holds;
// where they differ, plan says so and apply makes it so.
func TestAKilledChangeIsMended(t *testing.T) {
	l := newJoinedLab(t)
	var agreed, mended int
	for _, daemon := range []bool{false, true} {
		for _, after := range moments[1:] {
			if daemon {
				pid := l.Home().PID()
				kill := time.AfterFunc(after, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
				got := interrupted(t, l.Home(), 0, time.Second, "expose", "7050/tcp", "--name", "x")
				kill.Stop()
				_ = l.Home().Kill() // what there is of it
				must(t, l.Home().Start())
				must(t, l.Home().Ready(t.Context()))
				t.Logf("daemon killed after %s: exit code %d, %q", after, got.code, got.said)
			} else {
				interrupted(t, l.Home(), syscall.SIGKILL, after, "expose", "7050/tcp", "--name", "x")
			}
			if _, err := l.Home().Gatelodge(t.Context(), "plan"); err == nil {
				agreed++
			} else if exit, ok := errors.AsType[*lab.ExitError](err); !ok || exit.Status != 3 {
				t.Errorf("plan: %v", err)
			} else {
				mended++
				gatelodge(t, l.Home(), "apply")
			}
			if slices.Contains(agrees(t, l, fmt.Sprintf("killed after %s (the daemon: %t)", after, daemon)), "x") {
				gatelodge(t, l.Home(), "unexpose", "x")
			}
		}
	}
	t.Logf("%d agreed at once, %d were mended by apply", agreed, mended)
}

// An invite with ports is made whole or not at all.
func TestAStoppedInviteIsWholeOrNotAtAll(t *testing.T) {
	l := newLab(t)
	must(t, l.InitGate(t.Context()))
	file := filepath.Join(l.Gate().Root(), "etc/gatelodge/gate.toml")
	before, err := os.ReadFile(file)
	must(t, err)
	var done, undone int
	for _, s := range polite {
		for _, after := range moments {
			got := interrupted(t, l.Gate(), s, after, "gate", "invite", "attic", "--allow-ports", "7200-7210")
			what := fmt.Sprintf("signal %d after %s, exit code %d, said %q", s, after, got.code, got.said)
			now, err := os.ReadFile(file)
			must(t, err)
			out := gatelodge(t, l.Gate(), "gate", "homes")
			invited, allowed := strings.Contains(out, "attic"), !bytes.Equal(now, before)
			switch {
			case got.code == 0 && invited && allowed:
				done++
				gatelodge(t, l.Gate(), "gate", "revoke", "attic")
				must(t, os.WriteFile(file, before, 0o644))
				gatelodge(t, l.Gate(), "apply")
			case (got.code == 128+int(s) && strings.HasSuffix(got.said, "gatelodge: stopped; nobody was invited; gate.toml is as it was\n") || got.code == -1) && !invited && !allowed:
				undone++
			default:
				t.Errorf("%s: invited %t, ports allowed %t", what, invited, allowed)
			}
		}
	}
	t.Logf("%d done, %d undone or not begun", done, undone)
	if done+undone != len(polite)*len(moments) {
		t.Error("some were neither")
	}
}
