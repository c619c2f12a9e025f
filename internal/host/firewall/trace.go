package firewall

import (
	"context"
	"fmt"
	"net/netip"
)

// traceChain is a chain of our table while packets are traced. It comes before
// every other: what another firewall drops at once is seen to have arrived.
const (
	traceChain    = "trace_visitor"
	tracePriority = -500
)

// Trace has the kernel tell, over netlink, which rules the first packets of TCP
// connections from an address meet (nft(8), "meta nftrace set"), until end is
// called: so many of them, as the home that asks may send more than that. A chain that a crash leaves is not in the wanted table, and goes with
// its next loading.
func (f *Firewall) Trace(ctx context.Context, table string, from netip.Addr) (end func(context.Context) error, err error) {
	family := "ip"
	if from.Is6() {
		family = "ip6"
	}
	err = f.load(ctx, fmt.Sprintf(`add chain inet %[1]s %[2]s { type filter hook prerouting priority %[3]d; }
flush chain inet %[1]s %[2]s
add rule inet %[1]s %[2]s %[4]s saddr %[5]s tcp flags & (fin | syn | rst | ack) == syn limit rate 200/second burst 200 packets meta nftrace set 1
`, table, traceChain, tracePriority, family, from))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		return f.load(ctx, fmt.Sprintf("flush chain inet %[1]s %[2]s\ndelete chain inet %[1]s %[2]s\n", table, traceChain))
	}, nil
}
