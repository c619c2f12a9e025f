// Package systemd is what Gatelodge says to systemd and hears from it: whether
// it is ready and alive, descriptors that outlive it, its log lines, and, for
// the commands, the unit that the daemon runs as. Nothing here is needed where
// there is no systemd; there it does nothing.
package systemd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// firstFile is the number of the first descriptor that systemd passes on
// (SD_LISTEN_FDS_START in sd_listen_fds(3)).
const firstFile = 3

// Service is this process as a service of systemd. A nil Service is one
// outside of it: what it is told goes nowhere.
type Service struct {
	notify   *socket // nil: nobody listens
	watchdog time.Duration
	files    []*os.File
}

// FromEnvironment takes what systemd has left in the environment of this
// process, so that programs which it starts do not take it for theirs. An
// error is about a part of it: the Service does without.
func FromEnvironment() (*Service, error) {
	s := &Service{}
	var errs [3]error
	s.notify, errs[0] = openSocket(take("NOTIFY_SOCKET"))
	s.watchdog, errs[1] = parseWatchdog(take("WATCHDOG_USEC"), take("WATCHDOG_PID"))
	s.files, errs[2] = inherit(firstFile, take("LISTEN_PID"), take("LISTEN_FDS"), take("LISTEN_FDNAMES"))
	return s, errors.Join(errs[:]...)
}

// take returns an environment variable and removes it.
func take(name string) string {
	value := os.Getenv(name)
	_ = os.Unsetenv(name) // fails for empty names only
	return value
}

// Present reports whether systemd, or another service manager that speaks its
// protocol, wants to hear of this process.
func (s *Service) Present() bool { return s != nil && s.notify != nil }

// Watchdog returns within which time systemd wants a sign of life, from one to
// the next; 0 if it wants none.
func (s *Service) Watchdog() time.Duration {
	if s == nil {
		return 0
	}
	return s.watchdog
}

// parseWatchdog reads what sd_watchdog_enabled(3) describes. A process ID that
// is not ours means that somebody else is to give the signs.
func parseWatchdog(microseconds, pid string) (time.Duration, error) {
	if microseconds == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	n, err := strconv.ParseInt(microseconds, 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("WATCHDOG_USEC %q is not a time in microseconds", microseconds)
	}
	return time.Duration(n) * time.Microsecond, nil
}

// inherit takes over the descriptors that systemd has kept for us.
func inherit(first int, pid, count, names string) ([]*os.File, error) {
	if count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS %q is not a number of descriptors", count)
	}
	name := strings.Split(names, ":")
	var files []*os.File
	for i := range n {
		unix.CloseOnExec(first + i)
		file := os.NewFile(uintptr(first+i), nameAt(name, i))
		files = append(files, file)
	}
	return files, nil
}

// nameAt returns the name of a descriptor; those without one are called what
// systemd calls them.
func nameAt(names []string, i int) string {
	if i < len(names) && names[i] != "" {
		return names[i]
	}
	return "unknown"
}

// TakeFile returns the descriptor that an earlier process of this service has
// given to KeepFile under that name, or nil. If there are several, it is the
// youngest, and the others are closed. It is the caller's now.
func (s *Service) TakeFile(name string) (*os.File, error) {
	if s == nil {
		return nil, nil
	}
	var found *os.File
	var rest []*os.File
	var errs []error
	for _, f := range s.files {
		if f.Name() != name {
			rest = append(rest, f)
			continue
		}
		if found != nil {
			errs = append(errs, found.Close())
		}
		found = f
	}
	s.files = rest
	return found, errors.Join(errs...)
}
