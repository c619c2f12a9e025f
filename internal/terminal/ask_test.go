package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// awaitSilence waits until what is typed is not shown.
func awaitSilence(t *testing.T, terminal *os.File) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); echoes(t, terminal); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what is typed is shown")
		}
	}
}

func TestAPasswordIsAskedForUntilCtrlC(t *testing.T) {
	for _, stops := range []bool{false, true} {
		keyboard, terminal := newTerminal(t)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		type answer struct {
			password string
			err      error
		}
		answers := make(chan answer, 1)
		go func() {
			password, err := Secret(ctx, terminal, io.Discard, "? ")
			answers <- answer{password, err}
		}()
		awaitSilence(t, terminal)
		if stops {
			stop()
		} else if _, err := keyboard.WriteString("se cret\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case a := <-answers:
			if stops && !errors.Is(a.err, context.Canceled) || !stops && (a.err != nil || a.password != "se cret") {
				t.Errorf("stopped %t: %v, %q", stops, a.err, a.password)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("stopped %t: it does not end", stops)
		}
		if !echoes(t, terminal) {
			t.Errorf("stopped %t: the terminal no longer shows what is typed", stops)
		}
		// Ends the reading that goes on.
		if _, err := keyboard.WriteString("\n"); err != nil {
			t.Error(err)
		}
	}
}

// Nor does a pipe from which nothing comes keep init.
func TestAPasswordFromAPipe(t *testing.T) {
	if password, err := Secret(t.Context(), bytes.NewBufferString("secret\nmore"), io.Discard, "? "); err != nil || password != "secret" {
		t.Errorf("%v, %q", err, password)
	}
	in, out := io.Pipe()
	defer out.Close()
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := Secret(ctx, in, io.Discard, "? "); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
