package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gatelodge/gatelodge/internal/install"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// makeHome joins this machine to the gate by what the commands install, join
// and up do.
func (s *setup) makeHome(ctx context.Context) error {
	// Again: somebody may have joined while init asked and copied.
	if err := s.unjoined(); err != nil {
		return err
	}
	if err := s.installHere(ctx); err != nil {
		return err
	}
	leave, err := s.leaving()
	if err != nil {
		return err
	}
	s.onFailure("the home", leave)
	quiet := *s.app
	quiet.out = io.Discard
	if err := quiet.join(ctx, s.invite, true); err != nil {
		return err
	}
	if err := errors.Join(quiet.enable(ctx), quiet.up(ctx)); err != nil {
		return err
	}
	return s.awaitTunnel(ctx)
}

func (s *setup) installHere(ctx context.Context) error {
	if !s.install {
		return nil
	}
	// What others have left there is not to go with what is made now.
	purge, err := emptyFolders(s.paths().Config(), s.paths().State())
	if err != nil {
		return err
	}
	s.onFailure("gatelodge on this machine", func(ctx context.Context) error {
		_, err := install.Uninstall(ctx, install.Options{Root: s.root}, purge)
		if errors.Is(err, install.ErrNotInstalled) {
			return nil
		}
		return err
	})
	if _, err := s.installSelf(ctx); err != nil {
		return err
	}
	s.printf("  installed the service gatelodge\n")
	return nil
}

// emptyFolders reports whether none of the folders holds anything. What install
// itself has written down there does not count: it knows what to do with it.
func emptyFolders(folders ...string) (bool, error) {
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		for _, e := range entries {
			if e.Name() != install.RecordName {
				return false, nil
			}
		}
	}
	return true, nil
}

// tunnelTime is how long the first handshake may take: join has just talked to
// the gate by the same port.
const tunnelTime = 30 * time.Second

func (s *setup) awaitTunnel(ctx context.Context) error {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, tunnelTime)
	defer cancel()
	r, err := s.awaitUp(ctx, nil, "gatelodge status")
	if err != nil {
		return err
	}
	if !r.Tunnel.Up {
		return fail(exitUnreachable, "gatelodge status", "the gate let this home join, but its tunnel does not come up: something on the way lets the first UDP packets through and not the next")
	}
	s.printf("  joined as %s; the tunnel stands after %.1f s\n", r.Name, time.Since(begin).Seconds())
	return nil
}

// leaving returns how this machine stops being a home, leaving no more behind
// than there is now.
func (s *setup) leaving() (func(ctx context.Context) error, error) {
	var made []string
	for _, folder := range []string{s.paths().Config(), s.paths().State(), s.paths().Run()} {
		if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
			made = append(made, folder)
		} else if err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) error { return s.leave(ctx, made) }, nil
}

func (s *setup) leave(ctx context.Context, made []string) error {
	quiet := *s.app
	quiet.out, quiet.errOut = io.Discard, io.Discard
	if _, err := s.paths().Role(); err == nil {
		if err := quiet.down(ctx); err != nil {
			return err
		}
	}
	unit, err := s.service(ctx)
	if err != nil {
		return err
	}
	if unit != nil {
		if err := unit.Disable(ctx); err != nil {
			return err
		}
	}
	files := []string{s.paths().ConfigFile(plan.Home)}
	for _, name := range stateFiles(plan.Home) {
		files = append(files, filepath.Join(s.paths().State(), name))
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, folder := range made {
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("cannot remove a folder that was made: %w", err)
		}
	}
	return nil
}
