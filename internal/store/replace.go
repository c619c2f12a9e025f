package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ReplaceFile replaces a file of the owner's, whole or not at all, with the
// mode and the owner it had. A symbolic link stays one: what it points to is
// replaced.
func ReplaceFile(path string, content []byte) error {
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		err = replaceFile(target, content)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, explain(err))
	}
	return nil
}

func replaceFile(path string, content []byte) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // the folder was synced already
	name := filepath.Base(path)
	temporary := "." + name + temporaryMark + rand.Text()
	f := folder{root}
	if err := f.Create(temporary, content); err != nil {
		return errors.Join(err, discard(root, temporary))
	}
	if err := matchFile(root, name, temporary); err != nil {
		return errors.Join(err, discard(root, temporary))
	}
	if err := f.Rename(temporary, name); err != nil {
		return errors.Join(err, discard(root, temporary))
	}
	return f.Sync()
}

// matchFile gives one file the mode and the owner of another.
func matchFile(root *os.Root, from, to string) error {
	info, err := root.Stat(from)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		if err := root.Lchown(to, int(s.Uid), int(s.Gid)); err != nil {
			return err
		}
	}
	return root.Chmod(to, info.Mode().Perm())
}

func discard(root *os.Root, name string) error {
	if err := root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// WriteFile writes a file that everybody may read, whole or not at all, and
// returns when it is on the disk. It is made if there is none, and belongs to
// the user who runs this.
func WriteFile(path string, content []byte) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, explain(err))
	}
	defer func() { _ = root.Close() }() // the folder was synced already
	temporary := "." + filepath.Base(path) + temporaryMark + rand.Text()
	f := folder{root}
	err = f.Create(temporary, content)
	if err == nil {
		err = root.Chmod(temporary, 0o644)
	}
	if err == nil {
		err = f.Rename(temporary, filepath.Base(path))
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, explain(errors.Join(err, discard(root, temporary))))
	}
	return f.Sync()
}
