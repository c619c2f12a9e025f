package problem

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestAnErrorIsReadAsItWasWritten(t *testing.T) {
	whole := New(Unreachable, "gatelodge up", "no \"answer\"\nat all: %w", fs.ErrNotExist)
	e, ok := errors.AsType[*Error](fmt.Errorf("outside: %w", whole))
	if !ok || !errors.Is(whole, fs.ErrNotExist) {
		t.Fatal(whole)
	}
	line, err := e.JSON()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"error":{"message":"no \"answer\"\nat all: file does not exist","hint":"gatelodge up","code":5}}`
	if string(line) != want {
		t.Errorf("%s, not %s", line, want)
	}
	back, err := Parse(string(line))
	if err != nil || back.Error() != whole.Error() || back.Hint != e.Hint || back.Kind != Unreachable {
		t.Errorf("%v, %+v", err, back)
	}
}

func TestOtherTextsAreNoErrors(t *testing.T) {
	for _, text := range []string{"", "motd", "{}", `{"error":null}`, `{"error":"prose"}`, `{"error":{}}`, "gatelodge: error: no", "[1]"} {
		if e, err := Parse(text); !errors.Is(err, ErrNone) {
			t.Errorf("%q: %v, %v", text, e, err)
		}
	}
}
