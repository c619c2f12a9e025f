package sockets

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

// The states in /proc/net/tcp and udp that mean waiting (linux/tcp_states.h).
const (
	tcpListen = "0A"
	udpBound  = "07"
)

// waitingOfProc lists what waits by proc_pid_net(5).
func waitingOfProc(protocol forward.Protocol) ([]socket, error) {
	state := tcpListen
	if protocol == forward.UDP {
		state = udpBound
	}
	var list []socket
	err := eachInProc(protocol, func(fields []string) error {
		if len(fields) < 10 || fields[3] != state {
			return nil
		}
		s, err := parseProc(protocol, fields)
		list = append(list, s)
		return err
	})
	return list, err
}

// eachInProc calls f with the words of each line of a protocol's tables.
func eachInProc(protocol forward.Protocol, f func(fields []string) error) error {
	for _, name := range []string{protocol.String(), protocol.String() + "6"} {
		err := eachLine("/proc/thread-self/net/"+name, f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			return err
		}
	}
	return nil
}

func eachLine(file string, f func(fields []string) error) error {
	opened, err := os.Open(file)
	if err != nil {
		return err
	}
	defer opened.Close()
	lines := bufio.NewScanner(opened)
	lines.Scan() // the header
	for lines.Scan() {
		if err := f(strings.Fields(lines.Text())); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return lines.Err()
}

func parseProc(protocol forward.Protocol, fields []string) (socket, error) {
	at, err := parseSocketAddr(fields[1])
	if err != nil {
		return socket{}, err
	}
	uid, err := strconv.ParseUint(fields[7], 10, 32)
	if err != nil {
		return socket{}, fmt.Errorf("%q is not a user's number", fields[7])
	}
	inode, err := strconv.ParseUint(fields[9], 10, 64)
	if err != nil {
		return socket{}, fmt.Errorf("%q is not an inode's number", fields[9])
	}
	return socket{protocol: protocol, at: at, uid: uint32(uid), inode: inode}, nil
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
