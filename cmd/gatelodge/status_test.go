package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// saysFirst reports whether the first line of status begins so, and its exit code says
// the same.
func saysFirst(h *lab.Host, code int, verdict string) func(context.Context) error {
	return func(ctx context.Context) error {
		out, err := h.Gatelodge(ctx, "status")
		got := 0
		if exit, ok := errors.AsType[*lab.ExitError](err); ok {
			got = exit.Status
			if exit.Stderr != "" {
				return fmt.Errorf("beside its report it says %q", exit.Stderr)
			}
		} else if err != nil {
			return err
		}
		if first, _, _ := strings.Cut(out, "\n"); got != code || !strings.HasPrefix(first, verdict) {
			return fmt.Errorf("exit code %d, and %q", got, first)
		}
		return nil
	}
}

// The first line of status is true of both sides, whatever happens to the other one,
// and visitors are seen at home, where only the gate counts them. Who was there is
// never "never".
func TestTheVerdict(t *testing.T) {
	l := newJoinedLab(t)
	eventually(t, "home is well", saysFirst(l.Home(), 0, "✓ 1 forward reachable, last visitor "))
	eventually(t, "the gate is well", saysFirst(l.Gate(), 0, "✓ 1 home connected, 1 forward, last visitor "))
	eventually(t, "home has the gate's counters", func(ctx context.Context) error {
		out, err := l.Home().Report(ctx, "--json")
		if err != nil {
			return err
		}
		return errors.Join(mentions(out, `"connections": `), mentions(out, `"last_connection": `))
	})
	must(t, l.Gate().Kill())
	eventually(t, "home sees the gate's end", saysFirst(l.Home(), 5, "✗ nobody can reach this home: no answer from the gate for "))
	must(t, saysFirst(l.Gate(), 5, "✗ the daemon is not running → gatelodge up")(t.Context()))
	must(t, l.Gate().Start())
	eventually(t, "home is well again", saysFirst(l.Home(), 0, "✓ 1 forward reachable"))
	eventually(t, "the gate is well again", saysFirst(l.Gate(), 0, "✓ 1 home connected, 1 forward"))
	must(t, l.Home().Kill())
	eventually(t, "the gate renews a silent home", saysFirst(l.Gate(), 1, "! home home is silent for 2"))
	if out := report(t, l.Gate()); strings.Contains(out, "not yet") || strings.Contains(out, "  0 B") {
		t.Errorf("a home that was there is shown as one that never was:\n%s", out)
	}
}
