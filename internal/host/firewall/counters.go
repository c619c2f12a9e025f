package firewall

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/nftables"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// Counters are what a table has counted since it was made. Apply in place
// keeps them.
type Counters struct {
	Forwards map[uint32]ForwardCounters // by forward.Grant.ID; of a gate only
	Totals   Totals
}

// Count is a number of packets and their bytes, headers of IP included.
type Count struct {
	Packets uint64
	Bytes   uint64
}

// ForwardCounters are those of one forward.
type ForwardCounters struct {
	In             Count // from visitors to the home
	Out            Count // from the home to visitors
	NewConnections uint64
	Dropped        Count // new connections refused by Allow or Limit
}

// Totals count what the table has dropped, by reason.
type Totals struct {
	Invalid Count // packets that fit no connection
	Closed  Count // from outside to ports of the gate that are not open
	Tunnel  Count // from the tunnel, for what is not offered there
	Spoofed Count // with an address that cannot be true where they came from
	// Leaked would have left the tunnel for elsewhere, or shown a tunnel
	// address to the world: home to home, home to internet, and packets whose
	// translation conntrack has forgotten. Of a gate also what its own users
	// send to homes past the forwards.
	Leaked Count
	// Full are new connections of visitors beyond what the conntrack table has
	// room for beside the machine's own.
	Full Count
	// Local is what programs of a home other than the daemon would have said in
	// the tunnel.
	Local Count
}

// Counters reads what our table of that name, and its guard, have counted; none
// if there is no such table.
func (f *Firewall) Counters(ctx context.Context, table string) (Counters, error) {
	all := Counters{Forwards: make(map[uint32]ForwardCounters)}
	conn, err := netfilter.Open()
	if err != nil {
		return all, err
	}
	defer conn.CloseLasting()
	for _, name := range []string{table, GuardTable(table)} {
		objects, err := conn.GetObjects(of(name))
		if err != nil {
			return all, fmt.Errorf("cannot read the counters of table %s: %w", name, err)
		}
		for _, o := range objects {
			if c, ok := o.(*nftables.CounterObj); ok {
				all.add(c.Name, Count{Packets: c.Packets, Bytes: c.Bytes})
			}
		}
	}
	return all, ctx.Err()
}

// add puts a counter where its name says.
func (c *Counters) add(name string, n Count) {
	totals := map[string]*Count{
		countInvalid: &c.Totals.Invalid,
		countClosed:  &c.Totals.Closed,
		countTunnel:  &c.Totals.Tunnel,
		countSpoofed: &c.Totals.Spoofed,
		countLeaked:  &c.Totals.Leaked,
		countFull:    &c.Totals.Full,
		countLocal:   &c.Totals.Local,
	}
	if total, ok := totals[name]; ok {
		total.Packets += n.Packets
		total.Bytes += n.Bytes
		return
	}
	id, kind, ok := parseCounterName(name)
	if !ok {
		return
	}
	f := c.Forwards[id]
	switch kind {
	case "in":
		f.In = n
	case "out":
		f.Out = n
	case "new":
		f.NewConnections = n.Packets
	case "dropped":
		f.Dropped = n
	}
	c.Forwards[id] = f
}

// parseCounterName undoes counterName.
func parseCounterName(name string) (id uint32, kind string, ok bool) {
	digits, kind, found := strings.Cut(strings.TrimPrefix(name, "f"), "_")
	n, err := strconv.ParseUint(digits, 10, 32)
	if !found || err != nil || n == 0 || n > forward.MaxID || counterName(uint32(n), kind) != name {
		return 0, "", false
	}
	return uint32(n), kind, true
}
