package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// A home that was revoked and still calls is named by the gate's doctor; another one,
// which its owner has stopped, is not blamed for it. The gate knows that after a
// restart, too.
func TestARevokedHomeIsNotAnInnocentOne(t *testing.T) {
	l := newJoinedLab(t)
	must(t, l.Join(t.Context(), l.Home2()))
	eventually(t, "the gate sees where it is", func(ctx context.Context) error {
		text, err := l.Gate().Report(ctx, "--json")
		if n := strings.Count(text, `"endpoint": "192.0.2.2:`); err != nil || n < 2 {
			return fmt.Errorf("%d of 2 homes, %w", n, err)
		}
		return nil
	})
	gatelodge(t, l.Gate(), "gate", "revoke", l.Home2().Name, "--yes")
	must(t, l.Gate().Kill())
	must(t, l.Gate().Start())
	must(t, l.Gate().Ready(t.Context()))
	must(t, l.Home().Stop(t.Context()))
	named := regexp.MustCompile(`"Home ` + l.Home2().Name + `, which was revoked on [0-9]+ [A-Z][a-z]{2} [0-9:]{5}, still calls: from `)
	eventually(t, "the gate's doctor names it", func(ctx context.Context) error {
		text, err := l.Gate().Gatelodge(ctx, "doctor", "--json")
		if _, found := errors.AsType[*lab.ExitError](err); err != nil && !found {
			return err
		}
		if !named.MatchString(text) || !strings.Contains(text, "Nothing comes from home home;") || strings.Contains(text, "while nothing comes") {
			return fmt.Errorf("it says %s", text)
		}
		return nil
	})
}
