package routing

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Event says that something of this network namespace has changed. What it
// was is to be found out by looking: events are joined, and some may be lost.
type Event struct{}

// watched are the multicast groups of the kernel's notifications (netlink(7)).
var watched = map[int][]uint32{
	unix.NETLINK_ROUTE: {
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
	},
	unix.NETLINK_NETFILTER: {unix.NFNLGRP_NFTABLES},
}

// Watch reports changes of links, addresses, routes, rules and nftables
// tables, by whomever, until ctx ends. Events that nobody has taken yet are
// one event.
func Watch(ctx context.Context) (<-chan Event, error) {
	var conns []*netlink.Conn
	closeAll := func() {
		for _, c := range conns {
			_ = c.Close() // nothing is lost with it
		}
	}
	for protocol, groups := range watched {
		conn, err := netlink.Dial(protocol, nil)
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("cannot watch the network: %w", err)
		}
		conns = append(conns, conn)
		for _, g := range groups {
			if err := conn.JoinGroup(g); err != nil {
				closeAll()
				return nil, fmt.Errorf("cannot watch the network (netlink group %d): %w", g, err)
			}
		}
	}
	events := make(chan Event, 1)
	for _, conn := range conns {
		go receive(ctx, conn, events)
	}
	context.AfterFunc(ctx, closeAll) // ends the goroutines
	return events, nil
}

// receive turns notifications into events. That some were lost (ENOBUFS) is
// one as well.
func receive(ctx context.Context, conn *netlink.Conn, events chan<- Event) {
	for {
		_, err := conn.Receive()
		if ctx.Err() != nil || err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return
		}
		select {
		case events <- Event{}:
		default: // one is waiting already
		}
	}
}
