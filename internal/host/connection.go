package host

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// SSHConnection returns SSH_CONNECTION (ssh(1)) of the session that this command runs
// in; "" if it is none of ssh. sudo takes the variable away, so it is looked
// for in the environment of those who have started this process, too, unless it
// is there and empty.
func SSHConnection() string {
	if c, set := os.LookupEnv("SSH_CONNECTION"); set {
		return c
	}
	const generations = 16
	for pid, n := os.Getppid(), 0; pid > 1 && n < generations; pid, n = parent(pid), n+1 {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue // another user's, or gone: the next may tell
		}
		for v := range strings.SplitSeq(string(environ), "\x00") {
			if value, ok := strings.CutPrefix(v, "SSH_CONNECTION="); ok && value != "" {
				return value
			}
		}
	}
	return ""
}

// parent returns the process that has started another (proc_pid_stat(5)), 0 if
// that cannot be told.
func parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name of the program stands in parentheses and may hold any byte.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return ppid
}

// SSHClient reads the client's address and port from the value of SSH_CONNECTION;
// the zero value is none.
func SSHClient(sshConnection string) (netip.AddrPort, error) {
	fields := strings.Fields(sshConnection)
	if len(fields) == 0 {
		return netip.AddrPort{}, nil
	}
	bad := fmt.Errorf("SSH_CONNECTION is %q, which is not an ssh session", sshConnection)
	if len(fields) != 4 {
		return netip.AddrPort{}, bad
	}
	addr, addrErr := netip.ParseAddr(fields[0])
	port, portErr := strconv.ParseUint(fields[1], 10, 16)
	if addrErr != nil || portErr != nil {
		return netip.AddrPort{}, bad
	}
	return netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(port)), nil
}
