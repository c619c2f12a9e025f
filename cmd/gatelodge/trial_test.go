package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// admin is a port of the gate's own by which its owner gets in beside ssh.
const admin = 8443

// newTrialLab returns a lab whose gate lets admin in, with a file that no longer
// does.
func newTrialLab(t *testing.T) *lab.Lab {
	t.Helper()
	l := newLab(t)
	must(t, l.InitGate(t.Context()))
	must(t, l.Gate().ServeTCP(admin, func(c net.Conn) { fmt.Fprintln(c, "admin") }))
	accept(t, l, `["8443/tcp"]`)
	gatelodge(t, l.Gate(), "apply") // opens something: no risk
	gets(t, l, true)
	accept(t, l, `[]`)
	return l
}

func accept(t *testing.T, l *lab.Lab, list string) {
	t.Helper()
	file := filepath.Join(l.Gate().Root(), "etc/gatelodge/gate.toml")
	var lines []string
	for line := range strings.Lines(readFile(t, file)) {
		if !strings.HasPrefix(line, "accept") {
			lines = append(lines, line)
		}
		if strings.HasPrefix(line, "input") {
			lines = append(lines, "accept = "+list+"\n")
		}
	}
	must(t, os.WriteFile(file, []byte(strings.Join(lines, "")), 0o644))
}

func gatelodge(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	out, err := h.Gatelodge(t.Context(), args...)
	must(t, err)
	return out
}

// report returns what status says.
func report(t *testing.T, h *lab.Host, flags ...string) string {
	t.Helper()
	out, err := h.Report(t.Context(), flags...)
	must(t, err)
	return out
}

// gets waits until the owner does, or does not, get in by the admin port.
func gets(t *testing.T, l *lab.Lab, in bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("getting in by the admin port is %v", in), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		c, err := l.Visitor().Dial(ctx, "tcp", netip.AddrPortFrom(l.Gate().IPv4, admin).String())
		if err == nil {
			must(t, c.Close())
		}
		if (err == nil) != in {
			return fmt.Errorf("it is not: %v", err)
		}
		return nil
	})
}

func sshWorks(t *testing.T, l *lab.Lab) {
	t.Helper()
	_, err := lab.ProbeSSH(t.Context(), l.Visitor(), netip.AddrPortFrom(l.Gate().IPv4, 2222))
	must(t, err)
}

// block keeps new ssh connections from the gate, as a change could that its
// owner has not thought through.
func block(t *testing.T, l *lab.Lab) {
	t.Helper()
	run(t, l.Host("internet"), "nft", "add table inet cut; add chain inet cut drops { type filter hook forward priority 0; }; add rule inet cut drops oifname gate tcp dport 2222 drop")
}

func TestAPolicyIsKeptOnceSSHComesThrough(t *testing.T) {
	l := newTrialLab(t)
	contains(t, report(t, l.Gate()), "visitors")
	_, err := l.Gate().Gatelodge(t.Context(), "plan")
	if err == nil {
		t.Error("plan sees no difference")
	}
	gatelodge(t, l.Gate(), "apply")
	gets(t, l, false)
	contains(t, report(t, l.Gate()), "on trial", "which closes 8443/tcp", "gatelodge confirm")
	eventually(t, "the policy is kept", func(context.Context) error {
		sshWorks(t, l) // a session that only knocks may be over before it is seen
		if strings.Contains(report(t, l.Gate()), "on trial") {
			return fmt.Errorf("it is on trial still")
		}
		return nil
	})
	contains(t, refuses(t, l.Gate(), 1, "confirm"), "nothing waits for a confirmation", "kept already", "203.0.113.10")
	gets(t, l, false)
	// It is kept across a crash as well.
	must(t, l.Gate().Kill())
	must(t, l.Gate().Start())
	must(t, l.Gate().Ready(t.Context()))
	gets(t, l, false)
	contains(t, refuses(t, l.Home(), 1, "confirm"), "gate")
}

func TestAPolicyThatNobodyConfirmsIsReverted(t *testing.T) {
	l := newTrialLab(t)
	block(t, l)
	contains(t, refuses(t, l.Gate(), 1, "apply", "--confirm-within", "1s"), "10s to 1h")
	try := func() {
		t.Helper()
		gatelodge(t, l.Gate(), "apply", "--confirm-within", "10s")
		gets(t, l, false)
	}
	try()
	gets(t, l, true)
	contains(t, refuses(t, l.Gate(), 1, "confirm"), "was reverted", "gatelodge apply")
	contains(t, report(t, l.Gate()), "problem", "not in force")

	// The daemon can neither be asked nor do anything: the kernel does it.
	try()
	pid := l.Gate().PID()
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	gets(t, l, true)
	must(t, syscall.Kill(pid, syscall.SIGCONT))
	try()
	must(t, l.Gate().Kill())
	gets(t, l, true)

	// A start does not bring it into force.
	must(t, l.Gate().Start())
	must(t, l.Gate().Ready(t.Context()))
	gets(t, l, true)
	contains(t, report(t, l.Gate()), "not in force")
	gatelodge(t, l.Gate(), "apply")
	gets(t, l, false)
	contains(t, run(t, l.Gate(), "env", "SSH_CONNECTION=192.0.2.2 40000 198.51.100.1 2222", "gatelodge", "confirm"), "the firewall stays")
	gets(t, l, false)
}

func TestAnOldSessionConfirmsNothing(t *testing.T) {
	l := newTrialLab(t)
	must(t, l.Gate().ServeTCP(2223, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }))
	appendSSHPort(t, l, 2223)
	gatelodge(t, l.Gate(), "apply", "--confirm-within", "1h")
	must(t, l.Gate().Stop(t.Context()))
	must(t, l.Gate().Start())
	must(t, l.Gate().Ready(t.Context()))
	session, err := l.Visitor().Dial(t.Context(), "tcp", netip.AddrPortFrom(l.Gate().IPv4, 2223).String())
	must(t, err)
	defer session.Close()
	block(t, l)
	gatelodge(t, l.Gate(), "apply", "--confirm-within", "1h")
	from := strings.Replace(session.LocalAddr().String(), ":", " ", 1)
	text, err := l.Gate().Run(t.Context(), "env", "SSH_CONNECTION="+from+" 198.51.100.1 2223", "gatelodge", "confirm")
	if err == nil || !strings.Contains(err.Error(), "was there before") {
		t.Errorf("an old session has confirmed it: %s %v", text, err)
	}
	contains(t, report(t, l.Gate()), "on trial")
	gatelodge(t, l.Gate(), "down")
}

func appendSSHPort(t *testing.T, l *lab.Lab, port int) {
	t.Helper()
	file := filepath.Join(l.Gate().Root(), "etc/gatelodge/gate.toml")
	text := readFile(t, file)
	i := strings.Index(text, "ssh_ports = [")
	if i < 0 {
		t.Fatalf("no ssh_ports in\n%s", text)
	}
	i += len("ssh_ports = [")
	must(t, os.WriteFile(file, []byte(text[:i]+fmt.Sprint(port)+", "+text[i:]), 0o644))
}
