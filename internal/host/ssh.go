package host

import "github.com/gatelodge/gatelodge/internal/host/sockets"

// sight is what is to be seen of this machine without any means to change it.
type sight struct{}

// Session is a TCP connection that somebody has opened to this machine.
type Session = sockets.Session

// Sessions returns the connections to these local ports of this machine, also
// those that have ended moments ago.
func (sight) Sessions(ports []uint16) ([]Session, error) { return sockets.Sessions(ports) }

// SSHPorts returns the TCP ports by which this machine is reached over ssh, now
// or as soon as its ssh server runs.
func (sight) SSHPorts() ([]uint16, error) { return sockets.SSHPorts("") }

// RootPorts returns the TCP ports on which root listens for others.
func (sight) RootPorts() ([]uint16, error) { return sockets.RootPorts() }

// Binding is what a socket that waits for others is bound to.
type Binding = sockets.Binding

// Bindings returns what the sockets of this machine wait at.
func Bindings() ([]Binding, error) { return sockets.Bindings() }
