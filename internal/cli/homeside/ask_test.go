package homeside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/cli/command"
)

// newTerminal returns both ends of a pseudo-terminal.
func newTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

// Join asks on a terminal for what is not in its command line, until Ctrl-C.
func TestJoinAsksForTheInvite(t *testing.T) {
	for _, stops := range []bool{false, true} {
		keyboard, terminal := newTerminal(t)
		var asked bytes.Buffer
		a := &command.App{In: terminal, ErrOut: &asked}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		if stops {
			stop()
		} else if _, err := keyboard.WriteString("GL1-TEXT\nmore\n"); err != nil {
			t.Fatal(err)
		}
		text, err := inviteText(ctx, a, nil)
		if stops && !errors.Is(err, context.Canceled) || !stops && (err != nil || text != "GL1-TEXT") {
			t.Errorf("stopped %t: %v, %q", stops, err, text)
		}
		if !strings.Contains(asked.String(), "Invite") {
			t.Errorf("it asks %q", asked.String())
		}
	}
	a := &command.App{In: strings.NewReader("GL1-\nTEXT\n"), ErrOut: io.Discard}
	if text, err := inviteText(t.Context(), a, nil); err != nil || text != "GL1-\nTEXT\n" {
		t.Errorf("from a pipe: %v, %q", err, text)
	}
}

// The question for a password is in the owner's words and ours alone.
func TestAPasswordIsAskedForInOurWords(t *testing.T) {
	const want = "Password for sudo on the VPS debian@vps.example (not for this machine): "
	if got := passwordPrompt("debian@vps.example"); got != want {
		t.Errorf("%q, not %q", got, want)
	}
}
