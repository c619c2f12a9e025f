package sockets

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// SSHPorts returns the TCP ports by which this machine is reached over ssh:
// those that sshd listens on, or systemd on its behalf, those that this
// machine's files would have them listen on, though they may not do so just now,
// and the port of the session that the value of SSH_CONNECTION (ssh(1))
// describes, if it is not empty.
func SSHPorts(sshConnection string) ([]uint16, error) {
	return sshPortsWith("/", sshConnection)
}

// sshPortsWith does it with the configuration files below root.
func sshPortsWith(root, sshConnection string) ([]uint16, error) {
	listeners, err := Listeners()
	if err != nil {
		return nil, err
	}
	files, err := readSSHFiles(root)
	if err != nil {
		return nil, fmt.Errorf("cannot read the ports of this machine's sshd: %w", err)
	}
	return sshPorts(listeners, files, sshConnection), nil
}

// sshPorts judges the listeners. Those that may be sshd's are if any file names
// the port, also one that is not in force.
func sshPorts(listeners []Listener, files sshFiles, sshConnection string) []uint16 {
	ports := files.wanted()
	for _, l := range listeners {
		if l.Protocol != forward.TCP || l.Addr.IsLoopback() {
			continue
		}
		if l.IsSSH() || l.mayBeSSH() && slices.Contains(files.named(), l.Port) {
			ports = append(ports, l.Port)
		}
	}
	return sorted(append(ports, sessionPort(sshConnection)...))
}

// IsSSH reports whether the listener's process, or else its service, is one
// that serves ssh. Anybody may give a process that name, or run a service of
// it: only root's are how the owner gets in, and have a port to themselves.
func (l Listener) IsSSH() bool {
	if l.UID != 0 {
		return false
	}
	if l.Process != "" {
		return l.Process == "sshd" || strings.HasPrefix(l.Process, "sshd-") || l.Process == "dropbear"
	}
	service, _, _ := strings.Cut(strings.TrimSuffix(l.Unit, filepath.Ext(l.Unit)), "@")
	return slices.Contains(sshUnits, service)
}

// mayBeSSH reports whether the listener is systemd's, who holds it for another
// service, or that of a hidden process of root's: in whatever control group,
// as an sshd that somebody has started by hand is in that of their session.
func (l Listener) mayBeSSH() bool {
	return l.UID == 0 && (l.Process == "systemd" || l.Process == "init" || l.Process == "")
}

// sshUnits are the names of units that serve ssh, with distributions' words
// for it.
var sshUnits = []string{"ssh", "sshd", "openssh", "openssh-server", "dropbear"}

// sessionPort returns the server's port of an ssh session, the last word of
// SSH_CONNECTION.
func sessionPort(sshConnection string) []uint16 {
	fields := strings.Fields(sshConnection)
	if len(fields) != 4 {
		return nil
	}
	return portIn(fields[3])
}
