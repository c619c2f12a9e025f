package standing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Place is the folder in which a user's standing lab is written down.
type Place struct{ dir string }

// ErrNone is what Load returns when no lab is running.
var ErrNone = errors.New("no lab is running")

// ErrBusy is what Lock returns when another process makes a lab.
var ErrBusy = errors.New("another process is starting a lab or taking one down")

// FindPlace returns the user's Place: under XDG_RUNTIME_DIR, for root under
// /run, otherwise under the folder for temporary files.
func FindPlace() (Place, error) {
	p := Place{dir: filepath.Join(os.TempDir(), fmt.Sprintf("gatelodge-lab-%d", os.Getuid()))}
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); runtime != "" {
		p.dir = filepath.Join(runtime, "gatelodge-lab")
	} else if os.Getuid() == 0 {
		p.dir = "/run/gatelodge-lab"
	}
	if err := p.check(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Place{}, err
	}
	return p, nil
}

// check reports whether the folder belongs to the user alone, since what is
// in it is believed.
func (p Place) check() error {
	info, err := os.Lstat(p.dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a folder of user %d alone: remove it", p.dir, os.Getuid())
	}
	return nil
}

// LogFile is where the supervisor of the standing lab writes.
func (p Place) LogFile() string { return filepath.Join(p.dir, "log") }

func (p Place) file() string { return filepath.Join(p.dir, "standing.json") }

// Lock makes the folder, and keeps other processes from starting a lab or
// taking one down until it is released.
func (p Place) Lock() (release func() error, err error) {
	if err := os.Mkdir(p.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(p.dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, err
	}
	return f.Close, nil
}

// Save writes down a standing lab.
func (p Place) Save(s Lab) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	partial := p.file() + ".new"
	if err := os.WriteFile(partial, text, 0o600); err != nil {
		return err
	}
	return os.Rename(partial, p.file())
}

// Load returns the standing lab, or ErrNone.
func (p Place) Load() (Lab, error) {
	var s Lab
	text, err := os.ReadFile(p.file())
	if errors.Is(err, fs.ErrNotExist) {
		return s, ErrNone
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s: %w", p.file(), err)
	}
	if !s.Alive() {
		return s, ErrNone
	}
	return s, nil
}

// Remove forgets the standing lab.
func (p Place) Remove() error { return os.RemoveAll(p.dir) }
