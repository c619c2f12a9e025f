package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/printable"
)

// nothingToSee reports whether an error says that something is not there, has
// gone, or is hidden from us (proc(5), hidepid). Whatever else, such as a want of
// memory, must not pass for nothing: an sshd that is not seen loses its port.
func nothingToSee(err error) bool {
	for _, e := range []error{fs.ErrNotExist, fs.ErrPermission, unix.ESRCH, unix.ENOTDIR, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// maxName bounds a name that is shown, in bytes. The user who runs a process
// gives it one of any 15 bytes, and its control group one of any 255.
const maxName = 300

// socketOwners maps inodes of sockets to names of processes, as far as they
// can be seen, and as they may be shown. Processes end while one looks; that is no error.
func socketOwners() (map[uint64]string, error) {
	owners := map[uint64]string{}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		if err := addOwned(owners, filepath.Join("/proc", p.Name())); err != nil && !nothingToSee(err) {
			return nil, fmt.Errorf("cannot look at the processes of this machine: %w", err)
		}
	}
	return owners, nil
}

// addOwned adds the sockets of one process.
func addOwned(owners map[uint64]string, process string) error {
	links, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		return err
	}
	name := ""
	for _, l := range links {
		target, err := os.Readlink(filepath.Join(process, "fd", l.Name()))
		if err != nil && !nothingToSee(err) {
			return err
		}
		inode, isSocket := socketIn(target)
		if !isSocket {
			continue
		}
		if name == "" {
			comm, err := os.ReadFile(filepath.Join(process, "comm"))
			if err != nil {
				return err
			}
			name = printable.Line(strings.TrimSpace(string(comm)), maxName)
		}
		owners[inode] = name
	}
	return nil
}

// socketIn returns the inode of the socket that a link in /proc/PID/fd leads to.
func socketIn(target string) (inode uint64, isSocket bool) {
	text, isSocket := strings.CutPrefix(target, "socket:[")
	inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
	return inode, isSocket && err == nil
}
