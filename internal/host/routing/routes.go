package routing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// kernelRouteFilter says which routes the kernel is to list; 0: any.
type kernelRouteFilter struct {
	family   int
	table    uint8
	protocol uint8
	kind     uint8 // rtm_type, such as RTN_UNICAST
}

// listedRoute is what we need to know of a route of the kernel's.
type listedRoute struct {
	dst      netip.Prefix
	table    int
	protocol uint8
	kind     uint8
	metric   uint32
	link     int  // index of its interface, the first one of several
	gateway  bool // it leads to a router, not to neighbours
}

func (r listedRoute) family() int { return family(r.dst.Addr().Is6()) }

// tellingRoutes lists the routes of the main table that say something of this
// machine's own networks and its ways to the internet: not those to parts of the
// internet behind a router, of which there may be very many. A list that has
// changed meanwhile is good enough: the change leads to another look.
func tellingRoutes() ([]listedRoute, error) {
	var telling []listedRoute
	for _, fam := range families {
		filter := kernelRouteFilter{family: fam, table: unix.RT_TABLE_MAIN, kind: unix.RTN_UNICAST}
		err := eachRoute(filter, func(r listedRoute) {
			if r.tells() {
				telling = append(telling, r)
			}
		})
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, err
		}
	}
	return telling, nil
}

// tells reports whether a route says something of this machine itself.
func (r listedRoute) tells() bool {
	if a := r.dst.Addr(); a.IsLinkLocalUnicast() || a.IsMulticast() {
		return false
	}
	return plan.DefaultRoute(r.dst) || plan.OwnNetwork(r.dst, !r.gateway && r.kind == unix.RTN_UNICAST)
}

// eachRoute calls f for each route that passes the filter. The kernel filters,
// and a route that f does not keep leaves nothing behind: a machine that speaks
// BGP has a million of them.
func eachRoute(filter kernelRouteFilter, f func(listedRoute)) error {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot list routes: %w", err)
	}
	defer s.Close()
	if err := askToFilter(s); err != nil {
		return err
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{
		Family: uint8(filter.family), Table: filter.table, Protocol: filter.protocol, Type: filter.kind,
	}})
	err = req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE, func(m []byte) bool {
		if r, ok := parseRoute(m); ok && filter.passes(m) {
			f(r)
		}
		return true
	})
	switch {
	case errors.Is(err, unix.ENOENT): // no such table, as long as it has no route
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP): // a kernel without that family
	case err != nil:
		return fmt.Errorf("cannot list routes: %w", err)
	}
	return nil
}

// listTime bounds how long the kernel may be silent while it lists routes.
const listTime = 5 * time.Second

// askToFilter makes the kernel heed what a request for a list says beside the
// family (NETLINK_GET_STRICT_CHK in netlink(7), since Linux 4.20; before, it lists
// more than is asked for), and bounds how long it may take.
func askToFilter(s *nl.NetlinkSocket) error {
	limit := unix.NsecToTimeval(listTime.Nanoseconds())
	return errors.Join(
		ignore(unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1), unix.ENOPROTOOPT),
		s.SetSendTimeout(&limit),
		s.SetReceiveTimeout(&limit),
	)
}

// passes reports whether a listed route is what was asked for: the kernel lists
// clones of routes as well, which are what it has learned of single addresses.
func (f kernelRouteFilter) passes(m []byte) bool {
	head := nl.DeserializeRtMsg(m)
	return head.Flags&unix.RTM_F_CLONED == 0 && int(head.Family) == f.family &&
		(f.table == 0 || head.Table == f.table) &&
		(f.protocol == 0 || head.Protocol == f.protocol) &&
		(f.kind == 0 || head.Type == f.kind)
}

// parseRoute reads a message of the kernel's (rtnetlink(7)).
func parseRoute(m []byte) (listedRoute, bool) {
	if len(m) < unix.SizeofRtMsg {
		return listedRoute{}, false
	}
	head := nl.DeserializeRtMsg(m)
	r := listedRoute{table: int(head.Table), protocol: head.Protocol, kind: head.Type}
	dst := netip.IPv4Unspecified()
	if head.Family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	eachAttribute(m[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_DST:
			if a, ok := netip.AddrFromSlice(value); ok {
				dst = a
			}
		case unix.RTA_TABLE:
			r.table = int(number(value))
		case unix.RTA_OIF:
			r.link = int(number(value))
		case unix.RTA_PRIORITY:
			r.metric = number(value)
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			r.gateway = true
		case unix.RTA_MULTIPATH:
			r.firstHop(value)
		}
	})
	r.dst = netip.PrefixFrom(dst, int(head.Dst_len))
	return r, r.dst.IsValid()
}

// firstHop reads the first of several next hops (struct rtnexthop).
func (r *listedRoute) firstHop(hops []byte) {
	if len(hops) < unix.SizeofRtNexthop {
		return
	}
	length := min(int(binary.NativeEndian.Uint16(hops)), len(hops))
	r.link = int(number(hops[4:8]))
	eachAttribute(hops[unix.SizeofRtNexthop:max(length, unix.SizeofRtNexthop)], func(kind uint16, _ []byte) {
		r.gateway = r.gateway || kind == unix.RTA_GATEWAY || kind == unix.RTA_VIA
	})
}

// eachAttribute calls f for each attribute (struct rtattr).
func eachAttribute(b []byte, f func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:]), b[unix.SizeofRtAttr:length])
		b = b[min((length+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(b)):]
	}
}

// number reads an attribute of 32 bits; a shorter one is 0.
func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// families are those whose routes and rules we look at.
var families = []int{netlink.FAMILY_V4, netlink.FAMILY_V6}
