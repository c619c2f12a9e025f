package instance

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/problem"
)

// failureFile is where a daemon that cannot start writes why, for the command
// that has started it.
func (i Instance) failureFile() string { return filepath.Join(i.Paths.Run(), "start-error.json") }

// NoteFailure has the command that has started this daemon know why it ends.
func (i Instance) NoteFailure(why *problem.Error) error {
	line, err := why.JSON()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(i.Paths.Run(), 0o700); err != nil {
		return err
	}
	return os.WriteFile(i.failureFile(), append(line, '\n'), 0o600)
}

// forgetFailure makes sure that what failure returns later is of a start to come.
func (i Instance) forgetFailure() error {
	if err := os.Remove(i.failureFile()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// maxFailure bounds what is read of why a daemon has ended, in bytes.
const maxFailure = 64 << 10

// failure returns why the daemon that was started has ended; nil if it did not
// come to say so. The folder is its own, so nothing is read through a link.
func (i Instance) failure() *problem.Error {
	f, err := os.OpenFile(i.failureFile(), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFailure))
	if err != nil {
		return nil
	}
	p, err := problem.Parse(string(text))
	if err != nil {
		return nil
	}
	return p
}
