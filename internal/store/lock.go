package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/step"
)

const lockFile = "lock"

// LockedError means that another process holds the store.
type LockedError struct {
	Path string
	PID  int // 0: not known
}

// Error implements error.
func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("%s is in use by %s; if that is the daemon, talk to it or stop it first: gatelodge status, gatelodge down", e.Path, who)
}

// Lock is the right to change the store, for one process at a time. The
// kernel withdraws it when the process ends, however that happens.
type Lock struct{ file *os.File }

// Lock takes the store, or returns a *LockedError at once. It also removes
// what a former holder left unfinished.
func (s *Store) Lock() (*Lock, error) {
	file, err := s.openLock()
	if err != nil {
		return nil, fmt.Errorf("cannot lock the program's state: %w", explain(err))
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = &LockedError{Path: s.dir, PID: readPID(file)}
		}
		return nil, errors.Join(err, file.Close())
	}
	// The number is only for the message above: a full disk must not keep the
	// daemon from starting.
	_ = writePID(file)
	if err := s.sweep(); err != nil && !errors.Is(err, unix.EROFS) {
		return nil, errors.Join(fmt.Errorf("cannot tidy %s: %w", s.dir, explain(err)), file.Close())
	}
	return &Lock{file}, nil
}

// LockWithin is Lock for who waits for another process to let go, for so long at
// most: a command that looks at the machine holds the store for a moment, and a
// daemon that was told to stop a little longer.
func (s *Store) LockWithin(ctx context.Context, patience time.Duration) (*Lock, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(patience / 100)
	defer tick.Stop()
	for {
		lock, err := s.Lock()
		if err == nil || !errors.As(err, new(*LockedError)) {
			return lock, err
		}
		select {
		case <-tick.C:
		case <-waiting.Done():
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, err
		}
	}
}

// openLock opens the lock's file, and makes it where there is none. On a disk
// that takes no writes, one that is there will do: a machine whose root turns
// out to be read-only at boot still gets its tunnel.
func (s *Store) openLock() (*os.File, error) {
	file, err := s.root.OpenFile(lockFile, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return s.createLock()
	}
	if errors.Is(err, unix.EROFS) {
		file, err = s.root.Open(lockFile)
	}
	if err != nil {
		return nil, err
	}
	return file, s.checkLock(file)
}

// createLock makes the lock's file, unless another process just has.
func (s *Store) createLock() (*os.File, error) {
	file, err := s.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return s.openLock()
	}
	if err != nil {
		return nil, err
	}
	if err := (folder{s.root}).giveAway(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// checkLock refuses to write into something that the folder's owner could have
// put in the place of the lock: a link, or a second name of somebody else's
// file.
func (s *Store) checkLock(file *os.File) error {
	opened, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	named, err := s.root.Lstat(lockFile)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	st, ok := opened.Sys().(*syscall.Stat_t)
	if !os.SameFile(named, opened) || !opened.Mode().IsRegular() || ok && st.Nlink != 1 {
		return errors.Join(fmt.Errorf("%s is not the plain file that it was; remove it", s.path(lockFile)), file.Close())
	}
	return nil
}

// Unlock gives the store back.
func (l *Lock) Unlock() error { return l.file.Close() }

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	step.At("store: lock without number")
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPID(file *os.File) int {
	text := make([]byte, 20)
	n, _ := file.ReadAt(text, 0) // at its end there is io.EOF
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// sweep removes what a process left behind that died while saving.
func (s *Store) sweep() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.Contains(e.Name(), temporaryMark) {
			continue
		}
		if err := s.root.Remove(e.Name()); err != nil {
			return err
		}
	}
	return nil
}
