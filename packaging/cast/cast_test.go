package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The picture in the documents is that of the transcript beside it, and of the
// commands that are recorded now.
func TestThePictureIsThatOfTheTranscript(t *testing.T) {
	transcript := read(t, "testdata/init.transcript")
	lines, err := parse(transcript)
	if err != nil {
		t.Fatal(err)
	}
	if again := write(lines); again != transcript {
		t.Errorf("the transcript is read as\n%s", again)
	}
	if draw(lines) != read(t, "../../docs/img/init.svg") {
		t.Error("docs/img/init.svg is not drawn from testdata/init.transcript: run make cast")
	}
	var commands []string
	for _, l := range lines {
		if command, ok := strings.CutPrefix(l.text, prompt); ok && command != "" {
			commands = append(commands, command)
		}
	}
	if !slices.Equal(commands, shown) {
		t.Errorf("the transcript has %q, not %q: run make cast", commands, shown)
	}
}

func TestRows(t *testing.T) {
	long := "  " + strings.Repeat("word ", 30)
	got := rows([]line{{0, prompt + "x"}, {90 * time.Second, "1/8 connect"}, {90*time.Second + 20*time.Millisecond, long}})
	want := []row{
		{0, prompt + "x", "command"},
		{longest + typing, "1/8 connect", "step"},
		{longest + typing + 20*time.Millisecond, "  " + strings.TrimSpace(strings.Repeat("word ", 19)), "said"},
		{longest + typing + 20*time.Millisecond, "      " + strings.TrimSpace(strings.Repeat("word ", 11)), "said"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}
}

func TestTextOfATerminalIsNoMarkup(t *testing.T) {
	svg := draw([]line{{0, `<b>&"`}})
	if !strings.Contains(svg, "&lt;b&gt;&amp;&#34;</text>") {
		t.Error(svg)
	}
}

func TestWhatIsNoTranscript(t *testing.T) {
	for _, text := range []string{"x\n", "\n", "12\n"} {
		if lines, err := parse(text); err == nil {
			t.Errorf("%q: got %v", text, lines)
		}
	}
}
