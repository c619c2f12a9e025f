package store

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/step"
)

// files is the part of a file system that the store stands on. Names are
// relative to the store's folder.
type files interface {
	// Read returns a file's content, of maxFile bytes at most.
	Read(name string) ([]byte, error)
	// Create writes a new file and returns when its content is on the disk.
	// Its name may not be on the disk before the next Sync.
	Create(name string, content []byte) error
	Rename(from, to string) error
	Remove(name string) error
	// Sync returns when all names are on the disk.
	Sync() error
}

// maxFile bounds what is read into memory: far more than a gate remembers.
const maxFile = 64 << 20

var errTooLarge = errors.New("the file is far larger than anything gatelodge writes")

// folder is the real file system. An os.Root follows no symbolic link out of
// it, whatever happens to the path.
type folder struct{ root *os.Root }

func (f folder) Read(name string) ([]byte, error) {
	// Root reads in the folder of a user who could put a pipe there, which
	// would be waited for.
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // nothing was written
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if info.Size() > maxFile {
		return nil, errTooLarge
	}
	return io.ReadAll(io.LimitReader(file, maxFile))
}

func (f folder) Create(name string, content []byte) error {
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	step.At("store: empty", name)
	if err := f.giveAway(file); err != nil {
		return errors.Join(err, file.Close())
	}
	if _, err := file.Write(content); err != nil {
		return errors.Join(err, file.Close())
	}
	step.At("store: written", name)
	if err := file.Sync(); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}

// giveAway gives a new file to the folder's owner where root has made it:
// otherwise the daemon, which has a user of its own, could not read it.
func (f folder) giveAway(file *os.File) error {
	info, err := f.root.Stat(".")
	if err != nil {
		return err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(s.Uid) == os.Geteuid() || os.Geteuid() != 0 {
		return nil
	}
	return file.Chown(int(s.Uid), int(s.Gid))
}

func (f folder) Rename(from, to string) error {
	step.At("store: before the name", to)
	err := f.root.Rename(from, to)
	step.At("store: after the name", to)
	return err
}

func (f folder) Remove(name string) error { return f.root.Remove(name) }

func (f folder) Sync() error {
	dir, err := f.root.Open(".")
	if err != nil {
		return err
	}
	err = errors.Join(dir.Sync(), dir.Close())
	step.At("store: names on the disk")
	return err
}
