package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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
// kernel takes it back when the process ends, however that happens.
type Lock struct{ file *os.File }

// Lock takes the store, or returns a *LockedError at once. It also removes
// what a former holder left unfinished.
func (s *Store) Lock() (*Lock, error) {
	// O_NOFOLLOW because the file is written to before anything is known of it.
	file, err := os.OpenFile(s.path(lockFile), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
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
	if err := s.sweep(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot tidy %s: %w", s.dir, explain(err)), file.Close())
	}
	return &Lock{file}, nil
}

// Unlock gives the store back.
func (l *Lock) Unlock() error { return l.file.Close() }

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
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
