package sockets

import (
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Session is a TCP connection that somebody has opened to this machine.
type Session struct {
	Local, Remote netip.AddrPort
}

// unconnected are the states in /proc/net/tcp of sockets that have not been
// connected, or not yet (linux/tcp_states.h).
var unconnected = []string{"02", "03", "07", tcpListen, "0C"}

// Sessions returns the connections to these local ports (proc_pid_net(5)), also
// those that have ended moments ago. Each has been established: the other end
// has answered an answer of ours.
func Sessions(ports []uint16) ([]Session, error) {
	var list []Session
	err := eachInProc(forward.TCP, func(fields []string) error {
		if len(fields) < 4 || slices.Contains(unconnected, fields[3]) {
			return nil
		}
		local, err := parseSocketAddr(fields[1])
		if err != nil || !slices.Contains(ports, local.Port()) {
			return err
		}
		remote, err := parseSocketAddr(fields[2])
		list = append(list, Session{Local: local, Remote: remote})
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}
