// Package store keeps what Gatelodge must remember: values as JSON in files
// that survive a crash at any moment, and the journal of what to undo.
//
// Every value is kept twice, NAME.json and its copy NAME.json.last, each with
// a checksum. Both are written with every Save, so that falling back to the
// copy loses nothing: an older copy would let a used invite in again.
package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/step"
)

// Store is a folder of values that only its owner can read. It is safe for
// concurrent use. Of several processes, only the one that holds the Lock may
// Save.
type Store struct {
	dir   string
	root  *os.Root
	files files
	mu    sync.Mutex // held while files change
	// written are sums of what this process has written last, by file.
	written map[string][sha256.Size]byte
}

// Owner is a user and a group, by their numbers.
type Owner struct{ UID, GID int }

// Open opens the store in dir and creates the folder if there is none. It
// refuses a folder in which somebody else could read or plant a file.
//
// Root may open the store of another user: the daemon has one of its own, the
// commands are root's. Files that root writes there get the folder's owner. A
// folder that has to be created belongs to owner; nil is the user who runs this.
func Open(dir string, owner *Owner) (*Store, error) {
	if err := makeFolder(filepath.Clean(dir), owner); err != nil {
		return nil, fmt.Errorf("cannot create the folder for the program's state: %w", explain(err))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the program's state: %w", err)
	}
	if err := checkFolder(dir, root); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Store{dir: dir, root: root, files: folder{root}}, nil
}

// makeFolder creates a folder and what is missing above it, and returns when
// their names are on the disk: a value is not safe in a folder that is not.
func makeFolder(dir string, owner *Owner) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeFolder(parent, nil); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	step.At("store: folder made", dir)
	if owner != nil {
		if err := os.Lchown(dir, owner.UID, owner.GID); err != nil {
			return err
		}
	}
	above, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(above.Sync(), above.Close())
}

// checkFolder looks at the path as it is written and at the folder that was
// opened, which must be one and the same: the path could have been replaced
// by a symbolic link in between.
func checkFolder(dir string, root *os.Root) error {
	path, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	opened, err := root.Stat(".")
	if err != nil {
		return err
	}
	if path.Mode().Type() == fs.ModeSymlink || !os.SameFile(path, opened) {
		return fmt.Errorf("%s is a symbolic link; replace it by a folder that only its owner can enter", dir)
	}
	if s, ok := opened.Sys().(*syscall.Stat_t); ok && os.Geteuid() != 0 && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, but this program runs as user %d; run it as that user, or: chown %d %s", dir, s.Uid, os.Geteuid(), os.Geteuid(), dir)
	}
	if opened.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be entered by other users (mode %04o), and it holds private keys; to repair it: chmod 700 %s", dir, opened.Mode().Perm(), dir)
	}
	return nil
}

// Close releases the folder.
func (s *Store) Close() error {
	if s.root == nil {
		return nil
	}
	return s.root.Close()
}

// Dir returns the folder's path.
func (s *Store) Dir() string { return s.dir }

// fileName returns the file for the value of that name. Names follow the rule
// for forwards, which leaves no way out of the folder.
func fileName(name string) (string, error) {
	if err := forward.CheckName(name); err != nil {
		return "", fmt.Errorf("not the name of a stored value: %w", err)
	}
	return name + ".json", nil
}

const copySuffix = ".last"

// explain adds to an error of the file system what its owner can do.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; the disk or its quota is full (df -h, df -i): free some space and try again", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; the file system is mounted read-only, often after a disk error (dmesg): make it writable and try again", err)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("%w; the disk reports an error (dmesg)", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run as the user that the folder belongs to, usually root", err)
	default:
		return err
	}
}
