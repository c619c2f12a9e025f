package firewall

import (
	"fmt"
	"math"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func checkForward(f forward.Grant, m plan.Marks) error {
	switch {
	case f.ID == 0 || f.ID > forward.MaxID || f.ID&m.Mask != 0:
		return fmt.Errorf("forward %d: the number is out of range or meets the bits of mark mask %s", f.ID, hex32(m.Mask))
	case f.Target4.IsValid() && !f.Target4.Is4():
		return fmt.Errorf("forward %d: %s is not an IPv4 address", f.ID, f.Target4)
	case f.Target6.IsValid() && (!f.Target6.Is6() || f.Target6.Zone() != ""):
		return fmt.Errorf("forward %d: %s is not an IPv6 address without zone", f.ID, f.Target6)
	}
	return nil
}

// forwardMark is the ct mark of the forward's connections.
func forwardMark(m plan.Marks, id uint32) string { return hex32(m.Forward | id) }

// counterName names a counter of a forward; see parseCounterName.
func counterName(id uint32, suffix string) string { return fmt.Sprintf("f%d_%s", id, suffix) }

func allowChain(id uint32) string { return fmt.Sprintf("f%d_allow", id) }

func limitChain(id uint32) string { return fmt.Sprintf("f%d_limits", id) }

func limited(f forward.Grant) bool {
	return f.Limit.NewConnections.Count > 0 || f.Limit.Connections > 0
}

// refuse is what happens to a connection that a forward does not allow.
func refuse(id uint32) string { return fmt.Sprintf("counter name %s drop", counterName(id, "dropped")) }

// addAllow adds the chain that drops who is not among those that the forward
// allows.
func (p *part) addAllow(f forward.Grant) {
	if len(f.Allow) == 0 {
		return
	}
	name := allowChain(f.ID)
	p.sets = append(p.sets, prefixSets(name, f.Allow)...)
	p.chains = append(p.chains, chain{name: name, rules: []string{
		"ip saddr != @" + name + "4 " + refuse(f.ID),
		"ip6 saddr != @" + name + "6 " + refuse(f.ID),
	}})
}

// addLimits adds the chain that drops a new connection which is more than the
// forward allows a visitor. What it lets pass returns.
//
// The number of an element's limit is kept in the element, and elements outlive
// changes of the rules: so a limit is part of its set's name, and another limit
// makes another set. An IPv6 visitor counts as its /64, because any host there
// has all the addresses it likes.
func (p *part) addLimits(f forward.Grant) {
	if !limited(f) {
		return
	}
	c := chain{name: limitChain(f.ID)}
	if r := f.Limit.NewConnections; r.Count > 0 {
		c.rules = append(c.rules, p.rateLimit(f.ID, r)...)
	}
	if n := f.Limit.Connections; n > 0 {
		name := fmt.Sprintf("f%d_connections_%d_", f.ID, n)
		p.sets = append(p.sets, visitorSets(name, "flags dynamic")...)
		c.rules = append(c.rules, perVisitor("add", name, fmt.Sprintf("ct count over %d", n), refuse(f.ID))...)
	}
	p.chains = append(p.chains, c)
}

// crowd is how many visitors' allowance those share who are more than a limit
// can remember, as they are in a flood of forged addresses: all of an IPv4 /16
// or an IPv6 /19, of which no more are routed than a set can hold. Without any
// such bound who floods a limit is rid of it; were they refused, everybody
// else would be.
const crowd = 16

// rateLimit returns the rules that bound how often a visitor comes.
func (p *part) rateLimit(id uint32, r forward.Rate) []string {
	limit := func(count uint32) string {
		return fmt.Sprintf("limit rate over %d/%s burst %d packets", count, unit(r.Per), count)
	}
	shared := min(r.Count, math.MaxUint32/crowd) * crowd
	name := fmt.Sprintf("f%d_rate_%d_%s_", id, r.Count, unit(r.Per))
	crowds := fmt.Sprintf("f%d_crowd_%d_%s_", id, r.Count, unit(r.Per))
	for _, n := range []string{name, crowds} {
		p.sets = append(p.sets, visitorSets(n, "flags dynamic,timeout", "timeout "+limitTimeout(r.Per))...)
	}
	return append(perVisitor("update", name, limit(r.Count), refuse(id)),
		fmt.Sprintf("ip saddr != @%s4 update @%s4 { ip saddr and 255.255.0.0 %s } %s", name, crowds, limit(shared), refuse(id)),
		fmt.Sprintf("ip6 saddr and ffff:ffff:ffff:ffff:: != @%s6 update @%s6 { ip6 saddr and ffff:e000:: %s } %s", name, crowds, limit(shared), refuse(id)),
	)
}

// visitorSize is how many elements a set has room for by itself, where packets
// fill it. It is not written down as the set's size, because the kernel then
// takes 2 MiB for it at once, and a home may have hundreds of limits.
const visitorSize = 65535

// visitorSets returns sets that packets fill with their source addresses.
func visitorSets(name string, options ...string) []set {
	var sets []set
	for _, fam := range families {
		sets = append(sets, set{name: name + fam.digit, key: fam.addrType, options: options, dynamic: true})
	}
	return sets
}

// perVisitor returns the rules that drop what exceeds a limit.
func perVisitor(verb, name, limit, drop string) []string {
	return []string{
		fmt.Sprintf("%s @%s4 { ip saddr %s } %s", verb, name, limit, drop),
		fmt.Sprintf("%s @%s6 { ip6 saddr and ffff:ffff:ffff:ffff:: %s } %s", verb, name, limit, drop),
	}
}

// unit is nft's word for the time of a rate. Other times than nft's units are
// taken as the next longer one, which is the stricter reading.
func unit(per time.Duration) string {
	switch {
	case per <= time.Second:
		return "second"
	case per <= time.Minute:
		return "minute"
	case per <= time.Hour:
		return "hour"
	default:
		return "day"
	}
}

// limitTimeout is how long an idle visitor is remembered: until it would have
// its full allowance again anyway.
func limitTimeout(per time.Duration) string {
	if unit(per) == "second" || unit(per) == "minute" {
		return "1m"
	}
	return "1" + unit(per)[:1]
}
