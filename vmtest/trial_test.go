//go:build vm

package vmtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// admin is a port of the gate's own, beside ssh.
const admin = 8443

// onTrial puts an input policy on trial that closes admin, lets something
// happen to the gate meanwhile, and checks that the policy which its owner kept
// is in force again.
func (w *world) onTrial(t *testing.T, then func()) {
	t.Helper()
	w.accept(t, `["8443/tcp"]`, "")
	w.adminIs(t, true)
	w.accept(t, "[]", "--confirm-within 30m")
	w.adminIs(t, false)
	w.inputIs(t, "on trial")
	then()
	w.adminIs(t, true)
	w.inputIs(t, "unconfirmed")
	w.accept(t, `["8443/tcp"]`, "")
	w.inputIs(t, "kept")
}

// accept has the gate let these ports in, by a file that a power cut leaves.
func (w *world) accept(t *testing.T, ports, flags string) {
	t.Helper()
	w.on(t, w.gate, `sed -i -e '/^accept = /d' -e 's|^\[firewall\].*|&\naccept = %s|' /etc/gatelodge/gate.toml; sync; gatelodge apply %s`, ports, flags)
}

func (w *world) inputIs(t *testing.T, state string) {
	t.Helper()
	if got := w.on(t, w.gate, statusJSON); !strings.Contains(got, fmt.Sprintf(`"state": %q`, state)) {
		t.Errorf("the input policy should be %s: %s", state, got)
	}
}

// adminIs waits until the port is open, where nobody listens and the kernel says
// so, or closed, where nothing is said.
func (w *world) adminIs(t *testing.T, open bool) {
	t.Helper()
	w.eventually(t, fmt.Sprintf("port %d of the gate is open: %v", admin, open), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		c, err := w.lab.Visitor().Dial(ctx, "tcp", gateAt(admin).String())
		if err == nil {
			return errors.Join(errors.New("something listens there"), c.Close())
		}
		if errors.Is(err, syscall.ECONNREFUSED) != open {
			return err
		}
		return nil
	})
}
