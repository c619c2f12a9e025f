package firewall

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// traceChain is a chain of our table while packets are traced. It comes before
// every other: what another firewall drops at once is seen to have arrived.
const (
	traceChain = "trace_visitor"
	traceHook  = "type filter hook prerouting priority -500"
)

// errTracing refuses a second trace: there is one chain for it.
var errTracing = errors.New("packets are traced already")

// Trace has the kernel tell, over netlink, which rules the first packets of TCP
// connections from an address meet (nft(8), "meta nftrace set"), until end is
// called: so many of them, as the home that asks may send more than that. The
// table may be loaded meanwhile, and keeps the chain. One that a crash leaves is
// not in the wanted table, and goes with its next loading.
func (f *Firewall) Trace(ctx context.Context, table string, from netip.Addr) (end func(context.Context) error, err error) {
	family := "ip"
	if from.Is6() {
		family = "ip6"
	}
	c := &chain{name: traceChain, hook: traceHook, rules: rules(fmt.Sprintf(
		"%s saddr %s tcp flags & (fin | syn | rst | ack) == syn limit rate 200/second burst 200 packets meta nftrace set 1", family, from))}
	f.loading.Lock()
	defer f.loading.Unlock()
	if !f.tracing.CompareAndSwap(nil, c) {
		return nil, errTracing
	}
	if err := f.loadBeside(ctx, emptyTrace(table)+fmt.Sprintf("add rule inet %s %s %s\n", table, traceChain, c.rules[0])); err != nil {
		f.tracing.Store(nil)
		return nil, err
	}
	return func(ctx context.Context) error { return f.endTrace(ctx, table) }, nil
}

// endTrace takes the chain away, also where somebody else has done so.
func (f *Firewall) endTrace(ctx context.Context, table string) error {
	f.loading.Lock()
	defer f.loading.Unlock()
	defer f.tracing.Store(nil)
	return f.loadBeside(ctx, emptyTrace(table)+fmt.Sprintf("delete chain inet %s %s\n", table, traceChain))
}

// emptyTrace makes the chain if it is not there, and empties it.
func emptyTrace(table string) string {
	return fmt.Sprintf("add chain inet %[1]s %[2]s { %[3]s; }\nflush chain inet %[1]s %[2]s\n", table, traceChain, traceHook)
}

// tracedBy returns the document with a chain that traces, unless it is nil.
func (d *document) tracedBy(c *chain) *document {
	if c == nil {
		return d
	}
	traced := *d
	traced.chains = append(slices.Clone(d.chains), *c)
	return &traced
}
