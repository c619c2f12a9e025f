package printable

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile are texts that do something to a terminal or to its reader.
var hostile = []string{
	"\x1b[2J\x1b]0;title\a", "\r\x1b[K[sudo] password for alice: \x1b[8m", "\x00NUL", "\u202egnp.exe", "\u2066x\u2069", "\u009b31mC1", "\x9b31m",
	"\xff\xfe", "a\tb", "a\vb\f", "zero\u200bwidth", "\ufeffmark", "line\u2028separator", "\U000e0041tag", "soft\u00adhyphen", "no\u00a0break", "\x7f",
}

func TestLine(t *testing.T) {
	for _, text := range hostile {
		got := Line(text, 100)
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(got) {
			t.Errorf("%q stays %q", text, got)
		}
		if IsLine(text, 100) {
			t.Errorf("%q is called printable", text)
		}
	}
	for _, text := range []string{"", "Grüße, 世界 — 100 %", "a/b\\c", "�"} {
		if !IsLine(text, 100) {
			t.Errorf("%q is not called printable", text)
		}
	}
}

func TestLineIsBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 101), strings.Repeat("世", 50), strings.Repeat("\x00", 100), strings.Repeat("\x80", 200), strings.Repeat("x", 98) + "世"} {
		got := Line(text, 100)
		if len(got) > 100 || !strings.HasSuffix(got, more) || !utf8.ValidString(got) {
			t.Errorf("%q becomes %d bytes: %q", text, len(got), got)
		}
	}
	if got := Line(strings.Repeat("x", 100), 100); len(got) != 100 {
		t.Errorf("what fits is cut to %q", got)
	}
	long := strings.Repeat("\x1b", 64<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := Line(long, 100)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 || len(got) > 100 {
		t.Errorf("%d bytes for what is cut off, and %d are left", took, len(got))
	}
}

func TestLines(t *testing.T) {
	if got, want := Lines("one\r\n\n \x1b[2Jtwo\nthree"), "one\n�[2Jtwo\nthree\n"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
}

// A writer, in whatever pieces it writes, adds to the terminal whole lines with
// our word before them.
func TestWriter(t *testing.T) {
	text := "Welcome\r\n\x1b[2J[sudo] password for alice:\x1b[8m\n\n" + strings.Repeat("y", 5000) + "\nlast"
	for size := 1; size <= len(text); size += 997 {
		var to bytes.Buffer
		w := NewWriter(&to, "ssh: ", 100)
		for rest := text; rest != ""; rest = rest[min(size, len(rest)):] {
			if _, err := w.Write([]byte(rest[:min(size, len(rest))])); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(to.String(), "\n")
		if len(lines) != 5 || lines[1] != "ssh: �[2J[sudo] password for alice:�[8m\n" || lines[3] != "ssh: last\n" || len(lines[2]) > lineSize+10 {
			t.Errorf("in pieces of %d: %.300q", size, lines)
		}
	}
}

func TestWriterFallsSilent(t *testing.T) {
	var to bytes.Buffer
	w := NewWriter(&to, "", 10)
	for range 1000 {
		if _, err := w.Write([]byte(strings.Repeat("line\n", 1000))); err != nil {
			t.Fatal(err)
		}
	}
	if want := strings.Repeat("line\n", 9) + more + "\n"; to.String() != want {
		t.Errorf("%q, not %q", to.String(), want)
	}
	if _, err := NewWriter(broken{}, "", 1).Write([]byte("x\n")); err == nil {
		t.Error("a writer that fails is not told of")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

func FuzzLine(f *testing.F) {
	for _, text := range hostile {
		f.Add(text, 20)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if limit < len(more) || limit > 1000 {
			return
		}
		got := Line(text, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) || Line(got, limit) != got {
			t.Errorf("%q within %d becomes %q", text, limit, got)
		}
	})
}
