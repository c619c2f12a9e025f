package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// gatesOwn is what a service of the gate's own says.
const gatesOwn = "this is the gate itself\n"

// startAs runs a service under a name on a host, as root, and returns how it
// ends.
func startAs(t *testing.T, h *lab.Host, name, at string) (end func()) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	program := filepath.Join(t.TempDir(), name)
	must(t, os.Symlink(self, program))
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), envListen+"="+at)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, h.Launch(cmd))
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%s does not listen: %q, %v", name, line, err)
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		must(t, errors.Join(in.Close(), cmd.Wait()))
	}
	t.Cleanup(end)
	return end
}

// asksGate returns what the owner, who connects to the gate, gets to hear.
func asksGate(ctx context.Context, l *lab.Lab, gate netip.Addr, port uint16) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := l.Visitor().Dial(ctx, "tcp", netip.AddrPortFrom(gate, port).String())
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

// An sshd that comes to a published port has it at once, and keeps it when the
// gate starts before its sshd; until the owner says that it is so no longer.
func TestAnSSHDThatMovesKeepsItsPort(t *testing.T) {
	l := newJoinedLab(t)
	const port = 7100
	must(t, l.Home().Echo(port))
	must(t, l.Home().Expose(t.Context(), "7100/tcp", "--name", "moved"))
	for _, gate := range []netip.Addr{l.Gate().IPv4, l.Gate().IPv6} {
		eventually(t, "the forward", func(ctx context.Context) error {
			return saw(l, gate)(lab.ProbeTCP(ctx, l.Visitor(), netip.AddrPortFrom(gate, port)))
		})
	}

	end := startAs(t, l.Gate(), "sshd", ":7100")
	began := time.Now()
	for _, gate := range []netip.Addr{l.Gate().IPv4, l.Gate().IPv6} {
		eventually(t, "the owner reaches the gate at "+gate.String(), func(ctx context.Context) error {
			if said, err := asksGate(ctx, l, gate, port); err != nil || said != gatesOwn {
				return fmt.Errorf("%q, %w", said, err)
			}
			return nil
		})
	}
	// Without a watch it is the next round that finds it, every 20 seconds.
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("sshd had its port after %s only", took)
	} else {
		t.Logf("sshd has its port after %s", took.Round(10*time.Millisecond))
	}
	isRefused := func(ctx context.Context) error {
		s, err := l.Home().Status(ctx)
		if err != nil {
			return err
		}
		for _, f := range s.Forwards {
			if f.Name == "moved" && f.State == "refused" {
				contains(t, f.Reason, "7100/tcp", "ssh")
				return nil
			}
		}
		return fmt.Errorf("home says %+v", s.Forwards)
	}
	eventually(t, "home says so", isRefused)

	// The gate starts, and its sshd does not listen yet.
	end()
	must(t, l.Gate().Stop(t.Context()))
	must(t, l.Gate().Start())
	must(t, l.Gate().Ready(t.Context()))
	eventually(t, "home and gate agree again", func(ctx context.Context) error {
		return saw(l, l.Gate().IPv4)(lab.ProbeTCP(ctx, l.Visitor(), netip.AddrPortFrom(l.Gate().IPv4, portEcho)))
	})
	for range 20 {
		if said, err := asksGate(t.Context(), l, l.Gate().IPv4, port); err == nil {
			t.Fatalf("who wants the gate's sshd gets %q", said)
		}
	}
	must(t, isRefused(t.Context()))

	// The owner has moved sshd back, and says so.
	gatelodge(t, l.Gate(), "apply")
	eventually(t, "the port is a home's again", func(ctx context.Context) error {
		return saw(l, l.Gate().IPv4)(lab.ProbeTCP(ctx, l.Visitor(), netip.AddrPortFrom(l.Gate().IPv4, port)))
	})
}
