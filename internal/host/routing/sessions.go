package routing

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Session is a TCP connection that somebody has opened to this machine.
type Session struct {
	Local, Remote netip.AddrPort
}

// The states in /proc/net/tcp of sockets that have not been connected, or not
// yet (linux/tcp_states.h).
var unconnected = []string{"02", "03", "07", tcpListen, "0C"}

// Sessions returns the connections to these local ports (proc_pid_net(5)), also
// those that have ended moments ago. Each has been established: the other end
// has answered an answer of ours.
func Sessions(ports []uint16) ([]Session, error) {
	var all []Session
	for _, name := range []string{"tcp", "tcp6"} {
		sessions, err := readSessions("/proc/thread-self/net/"+name, ports)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		all = append(all, sessions...)
	}
	return all, nil
}

func readSessions(file string, ports []uint16) ([]Session, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []Session
	lines := bufio.NewScanner(f)
	lines.Scan() // the header
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || slices.Contains(unconnected, fields[3]) {
			continue
		}
		local, err := parseSocketAddr(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if !slices.Contains(ports, local.Port()) {
			continue
		}
		remote, err := parseSocketAddr(fields[2])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, Session{Local: local, Remote: remote})
	}
	return list, lines.Err()
}
