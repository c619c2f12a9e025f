package remote

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/gatelodge/gatelodge/internal/printable"
)

// maxAnswer bounds what one command may print, in bytes. The longest that we
// ask for is the status of a gate with thousands of forwards.
const maxAnswer = 3 << 20

// headSize is how much of what came before a mark is kept to be shown.
const headSize = 200

// answer keeps what a command prints after a mark, and ends one that prints too
// much: nobody on the other side decides how much memory it takes here.
type answer struct {
	mark  []byte                  // nil: all is kept
	stop  context.CancelCauseFunc // ends the command
	begun bool
	head  []byte // what came first, for an error
	last  []byte // what may be the beginning of the mark
	size  int    // of all that has come
	text  strings.Builder
}

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	if a.size += len(p); a.size > maxAnswer {
		err := fmt.Errorf("the VPS answers with more than %d MB, more than any command of ours prints", maxAnswer>>20)
		a.stop(err)
		return 0, err
	}
	rest := p
	if !a.begun {
		a.head = append(a.head, p[:min(len(p), headSize-len(a.head))]...)
		rest = a.find(p)
	}
	a.text.Write(rest)
	return len(p), nil
}

// find looks for the mark, which may come in pieces, and returns what comes
// after it.
func (a *answer) find(p []byte) (rest []byte) {
	a.last = append(a.last, p...)
	if _, rest, a.begun = bytes.Cut(a.last, a.mark); a.begun {
		return rest
	}
	keep := min(len(a.last), len(a.mark)-1)
	a.last = append(a.last[:0], a.last[len(a.last)-keep:]...)
	return nil
}

// tail keeps the last part of what is written to it. The buffer is hidden, as it
// could be filled past Write.
type tail struct{ kept []byte }

const tailSize = 8 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	last := p[max(0, len(p)-tailSize):]
	drop := max(0, len(t.kept)+len(last)-2*tailSize)
	t.kept = append(append(t.kept[:0], t.kept[drop:]...), last...)
	return len(p), nil
}

// String returns what was kept, as it may be shown.
func (t *tail) String() string { return printable.Lines(string(t.kept)) }

// A login name is a word of the VPS's own, and comes into sentences of ours:
// letters, digits, and what directory services put between the parts of one.
var loginName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,63}\$?$`)
