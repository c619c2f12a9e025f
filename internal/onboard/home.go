package onboard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/install"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/problem"
)

// homeSteps are those on this machine.
type homeSteps struct{ *setup }

// makeHome joins this machine to the gate by what the commands install, join
// and up do.
func (s homeSteps) makeHome(context.Context) ([]part, error) {
	// Again: somebody may have joined while init asked and copied.
	if err := CheckFresh(s.here.Paths); err != nil {
		return nil, err
	}
	var parts []part
	if s.install {
		// What others have left there is not to go with what is made now.
		purge, err := emptyFolders(s.here.Paths.Config(), s.here.Paths.State())
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{what: "gatelodge on this machine", do: s.installHere, undo: s.uninstallHere(purge)})
	}
	return append(parts, s.homePart()), nil
}

func (s homeSteps) installHere(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err := install.Install(ctx, install.Options{Root: s.here.Paths.Root, Program: self}); err != nil {
		if p, ok := errors.AsType[*install.PackagedError](err); ok {
			return problem.New(problem.Failed, p.RemoveHint(), "%w", err)
		}
		return err
	}
	s.progress.Done("installed the service gatelodge")
	return nil
}

func (s homeSteps) uninstallHere(purge bool) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := install.Uninstall(ctx, install.Options{Root: s.here.Paths.Root}, purge)
		if errors.Is(err, install.ErrNotInstalled) {
			return nil
		}
		return err
	}
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

// homePart makes this machine a home. What folders there are is found out when it
// begins, so that leaving leaves no more behind.
func (s homeSteps) homePart() part {
	var made []string
	return part{
		what: "the home",
		do: func(ctx context.Context) (err error) {
			if made, err = missing(s.here.Paths.Config(), s.here.Paths.State(), s.here.Paths.Run()); err != nil {
				return err
			}
			return s.join(ctx)
		},
		undo: func(ctx context.Context) error { return s.leave(ctx, made) },
	}
}

func (s homeSteps) join(ctx context.Context) error {
	invite, err := key.ParseInvite(s.invite)
	if err != nil {
		return fmt.Errorf("the invite that the VPS made is not valid: %w", err)
	}
	name, err := s.here.Join(ctx, invite)
	if err != nil {
		return err
	}
	if err := s.here.Enable(ctx); err != nil {
		return err
	}
	if _, _, err := s.here.Up(ctx); err != nil {
		return err
	}
	return s.awaitTunnel(ctx, name)
}

// tunnelTime is how long the first handshake may take: join has just talked to
// the gate by the same port.
const tunnelTime = 30 * time.Second

func (s homeSteps) awaitTunnel(ctx context.Context, name string) error {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, tunnelTime)
	defer cancel()
	r, err := s.here.AwaitUp(ctx)
	if err != nil {
		return err
	}
	if !r.Works() {
		return problem.New(problem.Unreachable, "gatelodge status", "the gate let this home join, but its tunnel does not come up: something on the way lets the first UDP packets through and drops the next")
	}
	s.progress.Done(fmt.Sprintf("joined as %s; the tunnel is up after %.1f s", name, time.Since(begin).Seconds()))
	return nil
}

// missing returns which of the folders are not there.
func missing(folders ...string) ([]string, error) {
	var list []string
	for _, folder := range folders {
		if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
			list = append(list, folder)
		} else if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// leave makes this machine no home again, and removes the folders that were made
// for it.
func (s homeSteps) leave(ctx context.Context, made []string) error {
	p := s.here.Paths
	if _, err := p.Role(); err == nil {
		if err := s.here.Down(ctx); err != nil {
			return err
		}
	}
	if err := s.here.Disable(ctx); err != nil {
		return err
	}
	files := []string{p.ConfigFile(forward.Home)}
	for _, name := range stateFiles(forward.Home) {
		files = append(files, filepath.Join(p.State(), name))
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
