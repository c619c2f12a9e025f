package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// stackTUN is a tun.Device that ends in a TCP/IP inside this process. It does
// what wireguard-go's package tun/netstack does, but for one address, and
// without that one's panic when a packet is on its way out while it is closed.
type stackTUN struct {
	stack  *stack.Stack
	link   *channel.Endpoint
	mtu    int
	events chan tun.Event
	closed context.Context
	close  context.CancelFunc
}

// nic is the number of the only interface.
const nic = 1

// queued is how many packets wait for WireGuard before more are dropped.
const queued = 1024

func newStackTUN(address netip.Addr, mtu int) (*stackTUN, error) {
	if !address.IsValid() {
		return nil, errors.New("an address in the tunnel is missing")
	}
	if address.Is6() && mtu < header.IPv6MinimumMTU {
		return nil, fmt.Errorf("an MTU of %d is below what IPv6 demands, %d", mtu, header.IPv6MinimumMTU)
	}
	s := &stackTUN{
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		}),
		link:   channel.New(queued, uint32(mtu), ""),
		mtu:    mtu,
		events: make(chan tun.Event), // none ever
	}
	s.closed, s.close = context.WithCancel(context.Background())
	if err := s.setUp(address); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// setUp makes the interface, with its address and a route to everywhere.
func (s *stackTUN) setUp(address netip.Addr) error {
	if err := s.stack.CreateNIC(nic, s.link); err != nil {
		return fmt.Errorf("cannot make an interface in the process: %v", err)
	}
	_, protocol := fullAddress(netip.AddrPortFrom(address, 0))
	err := s.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol:          protocol,
		AddressWithPrefix: tcpip.AddrFromSlice(address.AsSlice()).WithPrefix(),
	}, stack.AddressProperties{})
	if err != nil {
		return fmt.Errorf("cannot add address %s in the process: %v", address, err)
	}
	everywhere := header.IPv4EmptySubnet
	if address.Is6() {
		everywhere = header.IPv6EmptySubnet
	}
	s.stack.AddRoute(tcpip.Route{Destination: everywhere, NIC: nic})
	return nil
}

// dial connects to an address.
func (s *stackTUN) dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	switch strings.TrimRight(network, "46") {
	case "tcp":
		return s.dialTCP(ctx, to)
	case "udp":
		return s.dialUDP(to)
	default:
		return nil, net.UnknownNetworkError(network)
	}
}

func (s *stackTUN) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	at, protocol := fullAddress(to)
	c, err := gonet.DialContextTCP(ctx, s.stack, at, protocol)
	if err != nil {
		return nil, err // with no connection: c is not nil as a net.Conn
	}
	return c, nil
}

func (s *stackTUN) dialUDP(to netip.AddrPort) (net.Conn, error) {
	at, protocol := fullAddress(to)
	c, err := gonet.DialUDP(s.stack, nil, &at, protocol)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func fullAddress(a netip.AddrPort) (tcpip.FullAddress, tcpip.NetworkProtocolNumber) {
	addr := a.Addr().Unmap()
	full := tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(addr.AsSlice()), Port: a.Port()}
	if addr.Is4() {
		return full, ipv4.ProtocolNumber
	}
	return full, ipv6.ProtocolNumber
}

// Read implements tun.Device: it takes the next packet that the stack sends.
func (s *stackTUN) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	p := s.link.ReadContext(s.closed)
	if p == nil {
		return 0, os.ErrClosed
	}
	defer p.DecRef()
	view := p.ToView()
	defer view.Release()
	n, err := view.Read(packets[0][offset:])
	if err != nil {
		return 0, err
	}
	sizes[0] = n
	return 1, nil
}

// Write implements tun.Device: it hands packets to the stack. What is neither
// IPv4 nor IPv6 is dropped.
func (s *stackTUN) Write(packets [][]byte, offset int) (int, error) {
	for _, b := range packets {
		b = b[offset:]
		if len(b) == 0 {
			continue
		}
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
		switch b[0] >> 4 {
		case header.IPv4Version:
			s.link.InjectInbound(header.IPv4ProtocolNumber, p)
		case header.IPv6Version:
			s.link.InjectInbound(header.IPv6ProtocolNumber, p)
		}
		p.DecRef()
	}
	return len(packets), nil
}

// Close implements tun.Device. wireguard-go calls it once.
func (s *stackTUN) Close() error {
	s.close()
	s.stack.RemoveNIC(nic)
	s.stack.Destroy()
	s.link.Close()
	close(s.events)
	return nil
}

// File implements tun.Device: there is none.
func (s *stackTUN) File() *os.File { return nil }

// Name implements tun.Device.
func (s *stackTUN) Name() (string, error) { return "stack", nil }

// MTU implements tun.Device.
func (s *stackTUN) MTU() (int, error) { return s.mtu, nil }

// Events implements tun.Device.
func (s *stackTUN) Events() <-chan tun.Event { return s.events }

// BatchSize implements tun.Device.
func (s *stackTUN) BatchSize() int { return 1 }
