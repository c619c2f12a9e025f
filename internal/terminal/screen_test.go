package terminal

import (
	"os"
	"testing"
	"time"
)

// read reads from the other end of a terminal so many bytes as are wanted.
func read(t *testing.T, keyboard *os.File, want string) {
	t.Helper()
	if err := keyboard.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Log("no deadline: ", err)
	}
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		part := make([]byte, len(want)-len(got))
		n, err := keyboard.Read(part)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got = append(got, part[:n]...)
	}
	if string(got) != want {
		t.Fatalf("it was told %q, wanted %q", got, want)
	}
}

// A screen is drawn in place, hears keys unseen, and is given back as it was.
func TestAScreen(t *testing.T) {
	keyboard, terminal := newTerminal(t)
	s, err := OpenScreen(terminal, terminal)
	if err != nil {
		t.Fatal(err)
	}
	read(t, keyboard, enterScreen)
	if echoes(t, terminal) || !s.HasKeys() {
		t.Error("what is typed is shown")
	}
	if err := s.Draw([]string{"one", "two"}); err != nil {
		t.Fatal(err)
	}
	read(t, keyboard, "\x1b[?2026h\x1b[Hone\x1b[K\r\r\ntwo\x1b[K\x1b[J\x1b[?2026l")
	if _, err := keyboard.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	select {
	case key := <-s.Keys():
		if key != 'q' {
			t.Errorf("key %q", key)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no key is heard")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	read(t, keyboard, leaveScreen)
	if !echoes(t, terminal) {
		t.Error("what is typed is no longer shown")
	}
	if _, err := OpenScreen(terminal, t.Output()); err == nil {
		t.Error("a file is taken for a terminal")
	}
}

func TestAReaderThatLeaves(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if HasLeft(w) || HasLeft(t.Output()) {
		t.Error("the reader is still there")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if !HasLeft(w) {
		t.Error("the reader has left")
	}
}
