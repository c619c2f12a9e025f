package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// homePorts and home2Ports are what the gate's owner lets each home publish.
const (
	homePorts  = "80,443,64738,7000-7099,8022,8081,9000,25565-25570"
	home2Ports = "443,7100-7199"
)

// expose is a forward of a home, as arguments of `gatelodge expose`.
type expose struct{ host, args string }

// exposes are the forwards of both homes. The echo comes first: it answers the
// first visitor.
func exposes() []expose {
	return []expose{
		{"home", "7000 --name echo"},
		{"home", "80/tcp 443/tcp --name web"},
		{"home", "64738 --name voice"},
		{"home", "25565-25570 --name games"},
		{"home", "8022:22/tcp --name shell"},
		{"home", "9000/tcp --name files"},
		{"home", "8081/tcp --name container"},
		{"home", "7001 --name masked --source masquerade"},
		{"home", "7002 --name device --to 192.168.1.20 --source masquerade"},
		{"home2", "7100 --name echo"},
	}
}

// Setup does all that the owners of gate and homes do: it makes the gate,
// invites both homes, joins them, and publishes their forwards. It returns the
// time from the first home's `join` until a visitor got the first answer.
func (l *Lab) Setup(ctx context.Context) (first time.Duration, err error) {
	if err := l.InitGate(ctx); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := l.Join(ctx, l.Home(), "--allow-ports", homePorts); err != nil {
		return 0, err
	}
	for _, e := range exposes()[:1] {
		if err := l.Host(e.host).Expose(ctx, strings.Fields(e.args)...); err != nil {
			return 0, err
		}
	}
	if err := l.awaitAnswer(ctx, netip.AddrPortFrom(l.Gate().IPv4, PortEcho)); err != nil {
		return 0, err
	}
	first = time.Since(start)
	if err := l.Join(ctx, l.Home2(), "--allow-ports", home2Ports); err != nil {
		return 0, err
	}
	for _, e := range exposes()[1:] {
		if err := l.Host(e.host).Expose(ctx, strings.Fields(e.args)...); err != nil {
			return 0, err
		}
	}
	return first, nil
}

// InitGate makes the gate a gate, and starts it.
func (l *Lab) InitGate(ctx context.Context) error {
	l.Logf("gate: gatelodge gate init --yes")
	if _, err := l.Gate().Gatelodge(ctx, "gate", "init", "--yes", "--no-start"); err != nil {
		return err
	}
	if err := l.Gate().Start(); err != nil {
		return err
	}
	if err := l.Gate().Ready(ctx); err != nil {
		return err
	}
	return l.Gate().Confirm(ctx)
}

// Confirm brings the host's input policy into force, and keeps it: as its
// owner does at the console.
func (h *Host) Confirm(ctx context.Context) error {
	for _, c := range []struct{ command, why string }{
		{"apply", "the firewall of the gate itself is in force, on trial for a minute"},
		{"confirm", "and stays, as its owner still gets in"},
	} {
		h.lab.Logf("%s: gatelodge %-9s # %s", h.Name, c.command, c.why)
		if _, err := h.Gatelodge(ctx, c.command); err != nil {
			return err
		}
	}
	return nil
}

// Join invites a home under its host's name, joins it, and starts it. More
// arguments go to `gate invite`.
func (l *Lab) Join(ctx context.Context, home *Host, inviteArgs ...string) error {
	l.Logf("gate: gatelodge gate invite %s", strings.Join(append([]string{home.Name}, inviteArgs...), " "))
	invite, err := l.Gate().Gatelodge(ctx, append([]string{"gate", "invite", home.Name}, inviteArgs...)...)
	if err != nil {
		return err
	}
	l.Logf("%s: gatelodge join INVITE", home.Name)
	if _, err := home.Gatelodge(ctx, "join", strings.TrimSpace(invite), "--no-start"); err != nil {
		return err
	}
	if err := home.Start(); err != nil {
		return err
	}
	return home.Ready(ctx)
}

// Expose publishes a forward of the host, and waits until the gate grants it.
func (h *Host) Expose(ctx context.Context, args ...string) error {
	h.lab.Logf("%s: gatelodge expose %s", h.Name, strings.Join(args, " "))
	_, err := h.Gatelodge(ctx, append([]string{"expose"}, args...)...)
	return err
}

// Refused publishes a forward that the gate must refuse, and returns what the
// owner of the home is told.
func (h *Host) Refused(ctx context.Context, args ...string) (string, error) {
	_, err := h.Gatelodge(ctx, append([]string{"expose"}, args...)...)
	var exit *ExitError
	switch {
	case err == nil:
		return "", fmt.Errorf("the gate grants %s", strings.Join(args, " "))
	case errors.As(err, &exit) && exit.Status == 1:
		return firstLine(exit.Stderr), nil
	}
	return "", err
}

// firstLine is the error itself, without the program's voice and its hint.
func firstLine(stderr string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	return strings.TrimPrefix(line, "gatelodge: error: ")
}

// awaitAnswer waits until a visitor gets an answer over TCP.
func (l *Lab) awaitAnswer(ctx context.Context, at netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	return Until(ctx, 20*time.Millisecond, func() error {
		_, err := ProbeTCP(ctx, l.Visitor(), at)
		return err
	})
}
