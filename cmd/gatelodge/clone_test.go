package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// One home on two machines, as after a disk was cloned: the one that was
// started last has the tunnel, the other one leaves it alone and says so, and
// takes over when that one ends.
func TestTwoMachinesWithOneKey(t *testing.T) {
	l := newJoinedLab(t)
	first, clone := l.Home(), l.Home2()
	for _, folder := range []string{"etc", "var"} {
		must(t, os.CopyFS(filepath.Join(clone.Root(), folder), os.DirFS(filepath.Join(first.Root(), folder))))
	}
	must(t, clone.Echo(portEcho))
	must(t, os.Chmod(filepath.Join(clone.Root(), "var/lib/gatelodge"), 0o700))
	start := time.Now()
	must(t, clone.Start())
	eventually(t, "the clone has the tunnel", isUp(clone))
	t.Logf("the clone had the tunnel after %s", time.Since(start).Round(10*time.Millisecond))
	eventually(t, "the first one stands back", complains(first, "stands back"))
	eventually(t, "the clone says that there is another", complains(clone, "was told by the gate to stand back"))
	eventually(t, "the clone has the tunnel again", isUp(clone))
	t.Logf("all was settled after %s", time.Since(start).Round(10*time.Millisecond))

	at := netip.AddrPortFrom(l.Gate().IPv4, portEcho)
	failed := 0
	const probes = 100
	for range probes { // 20 seconds, in which they used to take turns three times
		if _, err := lab.ProbeTCP(t.Context(), l.Visitor(), at); err != nil {
			failed++
		}
		time.Sleep(200 * time.Millisecond)
	}
	if failed > 0 {
		t.Errorf("%d of %d visitors were lost after that", failed, probes)
	}
	for _, h := range []*lab.Host{first, clone} {
		if n := strings.Count(h.Log(), "the gate answers"); n > 3 {
			t.Errorf("the tunnel came to %s %d times", h.Name, n)
		}
	}

	must(t, clone.Stop(t.Context()))
	ended := time.Now()
	for isUp(first)(t.Context()) != nil { // it asks again after a minute
		if time.Since(ended) > 2*time.Minute {
			t.Fatal("the first one does not come back")
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Logf("the first one was back %s after the clone had ended", time.Since(ended).Round(time.Second))
	reachable(t, l)
}

func isUp(h *lab.Host) func(context.Context) error {
	return func(ctx context.Context) error {
		s, err := h.Status(ctx)
		if err == nil && !s.Works() {
			err = fmt.Errorf("the tunnel of %s is not up: %v", h.Name, s.Problems)
		}
		return err
	}
}

func complains(h *lab.Host, what string) func(context.Context) error {
	return func(ctx context.Context) error {
		s, err := h.Status(ctx)
		if err == nil && !strings.Contains(strings.Join(s.Problems, "\n"), what) {
			err = errors.New("the problems are " + strings.Join(s.Problems, "; "))
		}
		return err
	}
}

// A gate that was set up again does not know the home that still calls it, and
// cannot tell it so. The home says first what it is most likely to be.
func TestAGateThatWasSetUpAgain(t *testing.T) {
	l := newJoinedLab(t)
	must(t, l.Gate().Stop(t.Context()))
	_, err := l.Gate().Gatelodge(t.Context(), "down")
	must(t, err)
	must(t, os.RemoveAll(l.Gate().Root()))
	must(t, l.InitGate(t.Context()))
	eventually(t, "home says so", complains(l.Home(), "the gate was set up again or has revoked this home"))
	s, err := l.Home().Status(t.Context())
	must(t, err)
	if text := strings.Join(s.Problems, "\n"); !strings.Contains(text, "gatelodge gate invite") || strings.Index(text, "set up again") > strings.Index(text, "blocked") {
		t.Errorf("the problems are:\n%s", text)
	}
}
