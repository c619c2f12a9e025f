package routing

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Listener is a socket that waits for others: a listening TCP socket, or a UDP
// socket that is bound and not connected.
type Listener struct {
	Protocol forward.Protocol
	Addr     netip.Addr
	Port     uint16
	Process  string // name of a process that holds it; "" if it cannot be told
}

// Listeners returns the listeners of this network namespace (proc_pid_net(5)).
// Without privilege the processes of other users stay unnamed.
func Listeners() ([]Listener, error) {
	sockets, err := listSockets()
	if err != nil {
		return nil, err
	}
	owners := socketOwners()
	list := make([]Listener, 0, len(sockets))
	for _, s := range sockets {
		s.Process = owners[s.inode]
		list = append(list, s.Listener)
	}
	return list, nil
}

type socket struct {
	Listener
	inode string
}

// The states in /proc/net/tcp and udp that mean waiting (linux/tcp_states.h).
const (
	tcpListen = "0A"
	udpBound  = "07"
)

func listSockets() ([]socket, error) {
	var all []socket
	for _, table := range []struct {
		file, state string
		protocol    forward.Protocol
	}{
		{"tcp", tcpListen, forward.TCP},
		{"tcp6", tcpListen, forward.TCP},
		{"udp", udpBound, forward.UDP},
		{"udp6", udpBound, forward.UDP},
	} {
		sockets, err := readSockets("/proc/thread-self/net/"+table.file, table.state, table.protocol)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		all = append(all, sockets...)
	}
	return all, nil
}

func readSockets(file, state string, protocol forward.Protocol) ([]socket, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []socket
	lines := bufio.NewScanner(f)
	lines.Scan() // the header
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != state {
			continue
		}
		at, err := parseSocketAddr(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, socket{Listener{Protocol: protocol, Addr: at.Addr(), Port: at.Port()}, fields[9]})
	}
	return list, lines.Err()
}

// parseSocketAddr reads ADDRESS:PORT in hexadecimal. The address is in words
// of 32 bits, each in the byte order of the machine.
func parseSocketAddr(text string) (netip.AddrPort, error) {
	addrText, portText, _ := strings.Cut(text, ":")
	port, err := strconv.ParseUint(portText, 16, 16)
	if err != nil || len(addrText)%8 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is not a socket's address", text)
	}
	var b []byte
	for ; addrText != ""; addrText = addrText[8:] {
		word, err := strconv.ParseUint(addrText[:8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("%q is not a socket's address", text)
		}
		b = binary.NativeEndian.AppendUint32(b, uint32(word))
	}
	addr, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("%q is not a socket's address", text)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}

// socketOwners maps inodes of sockets to names of processes, as far as they
// can be seen. Processes end while one looks; that is no error.
func socketOwners() map[string]string {
	owners := map[string]string{}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return owners
	}
	names := map[string]string{}
	for _, link := range links {
		target, err := os.Readlink(link)
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if err != nil || !isSocket {
			continue
		}
		process := filepath.Dir(filepath.Dir(link))
		if _, known := names[process]; !known {
			comm, _ := os.ReadFile(process + "/comm") // gone meanwhile: no name
			names[process] = strings.TrimSpace(string(comm))
		}
		owners[strings.TrimSuffix(inode, "]")] = names[process]
	}
	return owners
}

// SSHPorts returns the TCP ports by which this machine is reached over ssh:
// those that sshd listens on, or systemd on its behalf, and the port of the
// session that the value of SSH_CONNECTION (ssh(1)) describes, if it is not
// empty.
func SSHPorts(sshConnection string) ([]uint16, error) {
	listeners, err := Listeners()
	if err != nil {
		return nil, err
	}
	var ports []uint16
	add := func(p uint16) {
		if p != 0 && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	configured := configuredSSHPorts("/etc/ssh")
	for _, l := range listeners {
		if l.Protocol != forward.TCP || l.Addr.IsLoopback() {
			continue
		}
		bySystemd := (l.Process == "systemd" || l.Process == "") && slices.Contains(configured, l.Port)
		if l.Process == "sshd" || strings.HasPrefix(l.Process, "sshd-") || l.Process == "dropbear" || bySystemd {
			add(l.Port)
		}
	}
	add(sessionPort(sshConnection))
	slices.Sort(ports)
	return ports, nil
}

// sessionPort returns the server's port of an ssh session, the last word of
// SSH_CONNECTION.
func sessionPort(sshConnection string) uint16 {
	fields := strings.Fields(sshConnection)
	if len(fields) != 4 {
		return 0
	}
	port, err := strconv.ParseUint(fields[3], 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

// configuredSSHPorts reads the Port lines of sshd_config(5); 22 if there are
// none. It serves only to recognise a socket whose owner cannot be told.
func configuredSSHPorts(dir string) []uint16 {
	files, err := filepath.Glob(dir + "/sshd_config.d/*.conf")
	if err != nil {
		files = nil
	}
	var ports []uint16
	for _, file := range append(files, dir+"/sshd_config") {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // no sshd here, or not for us to read
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 2 || !strings.EqualFold(fields[0], "Port") {
				continue
			}
			if port, err := strconv.ParseUint(fields[1], 10, 16); err == nil {
				ports = append(ports, uint16(port))
			}
		}
	}
	if len(ports) == 0 {
		return []uint16{22}
	}
	return ports
}
