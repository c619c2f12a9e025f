package sockets

import (
	"net/netip"
	"slices"
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

// Listeners returns the listeners of this network namespace. Without privilege
// the processes of other users stay unnamed; their services do not. The error
// says that there are sockets or processes that could not be looked at.
func Listeners() ([]Listener, error) {
	var all []socket
	for _, protocol := range []forward.Protocol{forward.TCP, forward.UDP} {
		sockets, err := waiting(protocol)
		if err != nil {
			return nil, err
		}
		all = append(all, sockets...)
	}
	owners, err := socketOwners()
	if err != nil {
		return nil, err
	}
	list := make([]Listener, len(all))
	for i, s := range all {
		list[i] = Listener{Protocol: s.protocol, Addr: s.at.Addr(), Port: s.at.Port(), UID: s.uid, Process: owners[s.inode]}
	}
	return list, addUnits(list, all)
}

// addUnits says of listeners without a process whose service they are.
func addUnits(list []Listener, sockets []socket) error {
	if !slices.ContainsFunc(list, func(l Listener) bool { return l.Process == "" }) {
		return nil
	}
	groups, err := controlGroups("/")
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Process == "" {
			list[i].Unit = unitOf(groups.path(sockets[i].group))
		}
	}
	return nil
}

// RootPorts returns the TCP ports on which root listens for others. It is cheap
// enough to be asked for all the time. That of a user who is not root is none of
// them, so nobody else can keep us busy with it.
func RootPorts() ([]uint16, error) {
	sockets, err := waiting(forward.TCP)
	if err != nil {
		return nil, err
	}
	return rootPorts(sockets), nil
}

func rootPorts(sockets []socket) []uint16 {
	var ports []uint16
	for _, s := range sockets {
		if s.uid == 0 && !s.at.Addr().IsLoopback() {
			ports = append(ports, s.at.Port())
		}
	}
	return sorted(ports)
}

// sorted returns each port once, in order.
func sorted(ports []uint16) []uint16 {
	slices.Sort(ports)
	return slices.Compact(ports)
}
