package examine

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Knock tries a port. Of UDP, a refusal is all that can be learned from a
// service whose language one does not speak.
func Knock(ctx context.Context, protocol string, at netip.AddrPort) doctor.Result {
	return KnockFrom(ctx, netip.Addr{}, protocol, at)
}

// KnockFrom is Knock from one of this machine's addresses; the zero one: of the
// kernel's choice.
func KnockFrom(ctx context.Context, from netip.Addr, protocol string, at netip.AddrPort) doctor.Result {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := dialer(from, protocol).DialContext(ctx, protocol, net.JoinHostPort(at.Addr().String(), strconv.Itoa(int(at.Port()))))
	if err != nil {
		return outcome(err)
	}
	defer c.Close()
	if protocol == forward.TCP.String() {
		return doctor.Open
	}
	deadline, _ := ctx.Deadline() // it has one
	if err := c.SetDeadline(deadline); err != nil {
		return doctor.Untried
	}
	if _, err := c.Write([]byte{0}); err != nil {
		return outcome(err)
	}
	_, err = c.Read(make([]byte, 1))
	return outcome(err)
}

func dialer(from netip.Addr, protocol string) *net.Dialer {
	own := netip.AddrPortFrom(from, 0)
	switch {
	case !from.IsValid():
		return new(net.Dialer)
	case protocol == forward.TCP.String():
		return &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(own)}
	default:
		return &net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(own)}
	}
}

// VisitorAddress returns an address of this machine, of one family, that is like
// a visitor's; the zero one if it has none.
func VisitorAddress(public []netip.Addr, family func(netip.Addr) bool) netip.Addr {
	for _, a := range public {
		if !family(a) || !plan.Routable(a) {
			continue
		}
		// What the owner has named need not be on this machine: a provider may
		// translate it.
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err != nil {
			continue
		}
		c.Close()
		return a
	}
	return netip.Addr{}
}
