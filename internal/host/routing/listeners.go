package routing

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
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
	UID      uint32 // of the user who opened it
	Process  string // printable name of a process that holds it; "" if it cannot be told
	// Unit is the service in whose control group it was opened, such as
	// "nginx.service"; "" if it cannot be told. It is looked for only where
	// Process does not say.
	Unit string
}

// Owner names who listens: the process, or else the service; "" if neither can
// be told.
func (l Listener) Owner() string {
	service, isService := strings.CutSuffix(l.Unit, ".service")
	if l.Process == "" && isService {
		return service
	}
	return l.Process
}

// Listeners returns the listeners of this network namespace (proc_pid_net(5)).
// Without privilege the processes of other users stay unnamed; their services
// do not.
func Listeners() ([]Listener, error) {
	sockets, err := listSockets()
	if err != nil {
		return nil, err
	}
	owners, err := socketOwners()
	if err != nil {
		return nil, err
	}
	unnamed := false
	list := make([]Listener, len(sockets))
	for i, s := range sockets {
		list[i] = s.Listener
		list[i].Process = owners[s.inode]
		unnamed = unnamed || list[i].Process == ""
	}
	if !unnamed {
		return list, nil
	}
	units, err := socketUnits("/")
	if err != nil {
		return nil, err
	}
	for i, s := range sockets {
		if list[i].Process == "" {
			list[i].Unit = units[s.inode]
		}
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
		uid, err := strconv.ParseUint(fields[7], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a user's number", file, fields[7])
		}
		l := Listener{Protocol: protocol, Addr: at.Addr(), Port: at.Port(), UID: uint32(uid)}
		list = append(list, socket{l, fields[9]})
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
