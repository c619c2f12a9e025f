package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// setUpGatelodge does what the owners of a gate and of a home do, and measures
// the time from `join` until the first visitor was answered.
func setUpGatelodge(ctx context.Context, s *stand, _ options) (values, error) {
	gate, home := s.lab.Gate(), s.lab.Home()
	if _, err := gate.Gatelodge(ctx, "gate", "init", "--yes", "--no-start"); err != nil {
		return nil, err
	}
	if err := startDaemon(ctx, gate, "gate.toml"); err != nil {
		return nil, err
	}
	if err := gate.Confirm(ctx); err != nil {
		return nil, err
	}
	invite, err := gate.Gatelodge(ctx, "gate", "invite", home.Name)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := join(ctx, home, strings.TrimSpace(invite)); err != nil {
		return nil, err
	}
	if err := s.awaitAnswer(ctx); err != nil {
		return nil, err
	}
	v := values{"join": time.Since(start).Seconds()}
	s.gate, s.home = gate.PID(), home.PID()
	return v, checkEmbedded(ctx, gate, home)
}

func join(ctx context.Context, home *lab.Host, invite string) error {
	if _, err := home.Gatelodge(ctx, "join", invite, "--no-start"); err != nil {
		return err
	}
	if err := startDaemon(ctx, home, "home.toml"); err != nil {
		return err
	}
	return home.Expose(ctx, strconv.Itoa(port), "--name", "bench")
}

// startDaemon has the daemon use the embedded WireGuard also where the kernel
// has one, since that is what the other side of the comparison is.
func startDaemon(ctx context.Context, h *lab.Host, config string) error {
	file := filepath.Join(h.Root(), "etc/gatelodge", config)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	edited := strings.Replace(string(text), `# device = "auto"`, `device = "embedded"`, 1)
	if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
		return err
	}
	if err := h.Start(); err != nil {
		return err
	}
	return h.Ready(ctx)
}

func checkEmbedded(ctx context.Context, hosts ...*lab.Host) error {
	for _, h := range hosts {
		status, err := h.Status(ctx)
		if err != nil {
			return err
		}
		if got := status.Device(); got != "embedded" {
			return fmt.Errorf("%s has the device %q, want the embedded one", h.Name, got)
		}
	}
	return nil
}
