package survey

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Listener is an open port.
type Listener struct {
	Protocol string // "tcp" or "udp"
	Addr     netip.Addr
	Port     uint16
	Process  string // "" if that is not known
	Users    bool   // whether another user than root has opened it
}

// Service returns the port as a forward names it, such as "80/tcp".
func (l Listener) Service() string { return fmt.Sprintf("%d/%s", l.Port, l.Protocol) }

func (l Listener) loopback() bool { return l.Addr.IsLoopback() }

// ofDHCP reports whether a DHCP client listens there, for answers that the
// gate's policy lets in.
func (l Listener) ofDHCP() bool { return l.Protocol == "udp" && (l.Port == 68 || l.Port == 546) }

// SetListeners puts other open ports in place of those that are there.
func (f *Facts) SetListeners(list []Listener) {
	f.Listeners, f.listed = nil, nil
	for _, l := range list {
		f.add(l)
	}
}

func (f *Facts) add(l Listener) {
	if f.listed[l] || len(f.Listeners) == maxListeners {
		return
	}
	if f.listed == nil {
		f.listed = map[Listener]bool{}
	}
	f.listed[l] = true
	f.Listeners = append(f.Listeners, l)
}

// addListener reads columns of ss(8): protocol, local address, and the rest, in
// which a user stands who is not root.
//
//	udp 0.0.0.0%eth0:5353 users:(("avahi",pid=7,fd=3)) uid:70 ino:9
func (f *Facts) addListener(line string) error {
	protocol, rest, _ := strings.Cut(line, " ")
	local, users, _ := strings.Cut(rest, " ")
	at := strings.LastIndexByte(local, ':')
	if at < 0 {
		return errors.New("there is no port in it")
	}
	port, err := strconv.ParseUint(local[at+1:], 10, 16)
	if err != nil {
		return err
	}
	addr, err := localAddr(local[:at])
	if err != nil {
		return err
	}
	_, process, _ := strings.Cut(users, `(("`)
	process, _, _ = strings.Cut(process, `"`)
	f.add(Listener{Protocol: protocol, Addr: addr, Port: uint16(port), Process: process, Users: strings.Contains(users, "uid:")})
	return nil
}

// localAddr reads an address as ss shows it: "*", "0.0.0.0%eth0", "[::]",
// "[fe80::1]%eth0".
func localAddr(text string) (netip.Addr, error) {
	text, _, _ = strings.Cut(text, "%")
	text = strings.Trim(text, "[]")
	if text == "*" {
		return netip.IPv6Unspecified(), nil
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap(), err
}

// addSocket reads columns of /proc/net/tcp and its like (proc(5)): protocol,
// local address, state. Only listening sockets count.
func (f *Facts) addSocket(line string) error {
	words := strings.Fields(line)
	if len(words) != 3 {
		return errors.New("it does not have three columns")
	}
	protocol := strings.TrimSuffix(words[0], "6")
	if words[2] != map[string]string{"tcp": "0A", "udp": "07"}[protocol] {
		return nil
	}
	text, digits, _ := strings.Cut(words[1], ":")
	port, err := strconv.ParseUint(digits, 16, 16)
	if err != nil {
		return err
	}
	addr, err := procAddr(text)
	if err != nil {
		return err
	}
	f.add(Listener{Protocol: protocol, Addr: addr, Port: uint16(port)})
	return nil
}

// procAddr reads an address made of 32-bit words in the machine's own byte
// order, which is little-endian wherever gatelodge runs.
func procAddr(text string) (netip.Addr, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return netip.Addr{}, err
	}
	for i := 0; i+4 <= len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.LittleEndian.Uint32(b[i:]))
	}
	addr, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.Addr{}, fmt.Errorf("%q is not an address", text)
	}
	return addr.Unmap(), nil
}
