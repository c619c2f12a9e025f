package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// View opens the store in dir to look at it: nothing there is changed, neither its
// files nor that there is no folder. What is saved to it is known to this Store
// alone, and forgotten with it.
func View(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &Store{dir: dir, files: &view{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the program's state: %w", explain(err))
	}
	if err := checkFolder(filepath.Clean(dir), root); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Store{dir: dir, root: root, files: &view{under: folder{root}}}, nil
}

// Free returns nil unless another process holds the store's Lock, and a
// *LockedError then. It takes nothing itself.
func (s *Store) Free() error {
	if s.root == nil {
		return nil
	}
	file, err := s.root.Open(lockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at the lock of the program's state: %w", explain(err))
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return &LockedError{Path: s.dir, PID: readPID(file)}
	}
	return nil
}

// view is a folder, if there is one, with what would be changed in it.
type view struct {
	under files             // nil: there is no folder
	over  map[string][]byte // nil stands for a file that would be removed
}

func (v *view) Read(name string) ([]byte, error) {
	if content, changed := v.over[name]; changed {
		if content == nil {
			return nil, fs.ErrNotExist
		}
		return content, nil
	}
	if v.under == nil {
		return nil, fs.ErrNotExist
	}
	return v.under.Read(name)
}

func (v *view) Create(name string, content []byte) error {
	if _, err := v.Read(name); err == nil {
		return fs.ErrExist
	}
	v.set(name, append([]byte{}, content...))
	return nil
}

func (v *view) Rename(from, to string) error {
	content, err := v.Read(from)
	if err != nil {
		return err
	}
	v.set(to, content)
	v.set(from, nil)
	return nil
}

func (v *view) Remove(name string) error {
	if _, err := v.Read(name); err != nil {
		return err
	}
	v.set(name, nil)
	return nil
}

func (v *view) Sync() error { return nil }

func (v *view) set(name string, content []byte) {
	if v.over == nil {
		v.over = map[string][]byte{}
	}
	v.over[name] = content
}
