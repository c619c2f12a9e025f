// Package edit changes the owner's file and has the daemon carry it out, or
// leaves both as they were.
package edit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/store"
)

// Daemon is what carries a file out.
type Daemon interface {
	Apply(ctx context.Context, req local.ApplyRequest) (local.ApplyResponse, error)
}

// Editor changes the files of one instance, one change at a time.
type Editor struct {
	Paths  layout.Paths
	Daemon Daemon
	// Waits is told which command it waits for.
	Waits func(holder string)
}

// change is a file as it was and as it is to be.
type change struct {
	file          string
	before, after []byte
	request       local.ApplyRequest
}

// revertTime bounds the way back.
const revertTime = time.Minute

// carryOut writes the file and has the daemon apply it. Judge is told what came
// of that; unless it is content, the file is restored and applied again, even
// when ctx has ended. Nobody else must change the file meanwhile: see Alone.
func (e Editor) carryOut(ctx context.Context, c change, judge func(local.ApplyResponse, error) error) error {
	if bytes.Equal(c.before, c.after) {
		return judge(e.Daemon.Apply(ctx, c.request))
	}
	if err := store.ReplaceFile(c.file, c.after); err != nil {
		return err
	}
	err := judge(e.Daemon.Apply(ctx, c.request))
	if err == nil {
		return nil
	}
	if failed := e.revert(context.WithoutCancel(ctx), c); failed != nil {
		return errors.Join(err, &RevertError{failed})
	}
	return err
}

// RevertError means that a change was not carried out, and not undone as a whole
// either.
type RevertError struct{ Err error }

// Error implements error.
func (e *RevertError) Error() string { return e.Err.Error() }

// Unwrap returns what went wrong.
func (e *RevertError) Unwrap() error { return e.Err }

func (e Editor) revert(ctx context.Context, c change) error {
	ctx, cancel := context.WithTimeout(ctx, revertTime)
	defer cancel()
	name := filepath.Base(c.file)
	if err := store.ReplaceFile(c.file, c.before); err != nil {
		return fmt.Errorf("%s could not be restored: %w", name, err)
	}
	if _, err := e.Daemon.Apply(ctx, c.request); err != nil && !errors.Is(err, local.ErrNotRunning) {
		return fmt.Errorf("%s is as it was, but could not be applied again: %w", name, err)
	}
	return nil
}

// Create makes a configuration file where there is none. Whatever root's umask
// is, the daemon can read it, which may have a user of its own; there are no
// secrets in it.
func (e Editor) Create(role forward.Role, data []byte) error {
	if err := makeFolder(e.Paths.Config()); err != nil {
		return err
	}
	f, err := os.OpenFile(e.Paths.ConfigFile(role), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return problem.New(problem.Failed, "gatelodge status", "%s exists already and stays as it is", e.Paths.ConfigFile(role))
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
}

func makeFolder(folder string) error {
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Chmod(folder, 0o755)
}
