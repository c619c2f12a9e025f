package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Event says that something of this network namespace has changed. What it
// was is to be found out by looking: events are joined, and some may be lost.
type Event struct{}

// rulesetEvery is how often the ruleset is asked for its generation: the tunnel
// is shut while our table is away, and each question costs some 15 µs. nf_tables
// has notifications as well, and they are not for us: while a transaction is
// under way, the kernel holds a buffer of 4 or 8 KiB for each element of each
// set in it as soon as anybody listens. Some ten thousand ports would take all
// the memory of a small VPS, no matter who loads them.
const rulesetEvery = 50 * time.Millisecond

// watched are the multicast groups of the kernel's notifications (netlink(7)).
var watched = map[int][]uint32{
	unix.NETLINK_ROUTE: {
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
	},
}

// eventsEvery is how far apart events are at least: what they lead to is a whole
// look at this machine, and others may change routes a thousand times a second.
const eventsEvery = 250 * time.Millisecond

// Watch reports changes of links, addresses, routes, rules and nftables
// tables, by anybody, until ctx ends. Events that nobody has taken yet are
// one event. The channel is closed once there is nothing more to tell.
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
	ruleset, err := netfilter.Dial()
	if err != nil {
		closeAll()
		return nil, fmt.Errorf("cannot watch nf_tables: %w", err)
	}
	before, err := netfilter.GenerationBy(ruleset)
	if err != nil {
		closeAll()
		return nil, errors.Join(err, ruleset.Close())
	}
	ctx, end := context.WithCancel(ctx)
	seen, events := make(chan Event, 1), make(chan Event, 1)
	for _, conn := range conns {
		go func() {
			defer end()
			receive(ctx, conn, seen)
		}()
	}
	go poll(ctx, ruleset, before, seen)
	go func() {
		defer end()
		pace(ctx, seen, events)
	}()
	context.AfterFunc(ctx, closeAll) // ends the goroutines
	return events, nil
}

// receive turns notifications into events. That some were lost (ENOBUFS) is
// one as well.
func receive(ctx context.Context, conn *netlink.Conn, events chan<- Event) {
	for {
		messages, err := conn.Receive()
		if ctx.Err() != nil || err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return
		}
		if err != nil || slices.ContainsFunc(messages, concerns) {
			tell(events)
		}
	}
}

// concerns reports whether a change may have us do anything. Routes to parts of
// the internet are others' business: a router that speaks BGP has hundreds of
// thousands, and they change all the time.
func concerns(m netlink.Message) bool {
	if m.Header.Type != unix.RTM_NEWROUTE && m.Header.Type != unix.RTM_DELROUTE {
		return true
	}
	r, ok := parseRoute(m.Data)
	return !ok || r.protocol == plan.RouteProtocol || r.tells()
}

// pace passes events on, one at once and more with pauses, until ctx ends.
func pace(ctx context.Context, seen <-chan Event, events chan<- Event) {
	defer close(events)
	for {
		select {
		case <-seen:
			tell(events)
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(eventsEvery):
		case <-ctx.Done():
			return
		}
	}
}

func tell(events chan<- Event) {
	select {
	case events <- Event{}:
	default: // one is waiting already
	}
}

// poll tells that the ruleset has another generation than before. Where it
// cannot be asked for, that may have been so.
func poll(ctx context.Context, conn *netlink.Conn, before uint32, events chan<- Event) {
	defer func() { _ = conn.Close() }()
	tick := time.NewTicker(rulesetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := netfilter.GenerationBy(conn)
		if now != before || err != nil {
			tell(events)
		}
		before = now
		if err == nil {
			continue
		}
		// An answer that comes late would be taken for that to the next question.
		if again, err := netfilter.Dial(); err == nil {
			_ = conn.Close()
			conn = again
		}
	}
}
