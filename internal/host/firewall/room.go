package firewall

import "fmt"

// roomShare is the part of all that one visitor address may take: a quarter.
const roomShare = 4

// listLength is about how many connections are counted in one list. The kernel
// walks a list whenever it adds to it (nf_conncount), 0.2 µs for each entry: with
// all in one list, or in a few, a flood of new connections would take the whole
// processor. The shorter the lists, the more unevenly they fill, and the sooner
// the first of them is full.
const listLength = 64

// addRoom keeps visitors from filling the conntrack table, so that ssh and the
// tunnel always find room in it, on a gate and at home. Exempting those from
// tracking would do as well, but many firewalls accept ssh only as a new
// connection, and what is not tracked is none.
//
// Those who have used up their share are turned away first, so that they take
// nothing of what is bounded for all: how many connections may begin in a second,
// and how many there may be. Each visitor has a share and, by further rules, each
// home.
//
// The lists are elements of sets, not statements of rules: so they outlive
// changes of the rules, and with them the connections that pass. Another size
// of the room makes other sets.
func (d *document) addRoom(connections int, shares ...string) {
	d.counters = append(d.counters, countFull)
	room := chain{name: "room", rules: []string{"meta l4proto != { tcp, udp } return"}}
	room.rules = append(room.rules, d.visitorRate(connections)...)
	room.rules = append(room.rules, d.visitorShare(connections)...)
	room.rules = append(room.rules, shares...)
	room.rules = append(room.rules, fmt.Sprintf("limit rate over %[1]d/second burst %[1]d packets %[2]s", newRate(connections), turnAway))
	room.rules = append(room.rules, d.allVisitors(connections)...)
	d.chains = append(d.chains, room)
}

// turnAway is what happens to a connection for which there is no room.
const turnAway = "counter name " + countFull + " drop"

// newRate is how many connections may begin in a second. Half-open ones are
// forgotten after 10 seconds (plan.HalfOpenTimes): so forged ones take five
// eighths of the room at most, and a bounded part of the processor's time.
func newRate(connections int) int { return max(connections/16, 1000) }

// visitorRate keeps a part of what may begin in a second for visitors of whom
// few connections begin: those beyond a visitor's modest rate share three
// quarters of it among them, so that a flood from a few addresses leaves others
// a quarter. Forged addresses are all modest, and are bounded with everybody.
func (d *document) visitorRate(connections int) []string {
	name, all := fmt.Sprintf("visitor_rate_%d_", connections), newRate(connections)
	d.sets = append(d.sets, visitorSets(name, "flags dynamic,timeout", "timeout 5s")...)
	d.chains = append(d.chains, chain{name: "busy_visitors", rules: []string{
		fmt.Sprintf("limit rate over %[1]d/second burst %[1]d packets %[2]s", all*3/4, turnAway),
	}})
	return perVisitor("update", name, fmt.Sprintf("limit rate over %[1]d/second burst %[1]d packets", all/modestVisitors), "jump busy_visitors")
}

// modestVisitors is how many visitors together may begin as many connections in
// a second as there are, without one of them counting as busy.
const modestVisitors = 64

// visitorShare counts the connections of each visitor address, in lists by some
// bits of the port. An IPv6 visitor counts as its /64, because any host there has
// all the addresses it likes. The port's lowest bit is left out: Linux takes even
// ports first.
func (d *document) visitorShare(connections int) []string {
	share, lists := max(connections/roomShare, 1), 1
	for share/lists > listLength {
		lists *= 2
	}
	each, size := share/lists, max(connections, visitorSize)
	name, ports := fmt.Sprintf("visitors_%d_", connections), fmt.Sprintf("th sport and 0x%04x", (lists-1)<<1)
	for _, fam := range families {
		d.sets = append(d.sets, countingSet(name+fam.digit, fam.addrType+" . inet_service", size))
	}
	return []string{
		fmt.Sprintf("add @%s4 { ip saddr . %s ct count over %d } %s", name, ports, each, turnAway),
		fmt.Sprintf("add @%s6 { ip6 saddr and ffff:ffff:ffff:ffff:: . %s ct count over %d } %s", name, ports, each, turnAway),
	}
}

// allVisitors counts all connections, in lists by a hash of address and port:
// neither a crowd behind one address nor programs that always use the same port
// are in a few of them.
func (d *document) allVisitors(connections int) []string {
	lists := max(connections/listLength, 1)
	each := connections / lists
	name := fmt.Sprintf("room_%d", connections)
	d.sets = append(d.sets, countingSet(name, "mark", lists))
	return []string{
		fmt.Sprintf("add @%s { jhash ip saddr . th sport mod %d ct count over %d } %s", name, lists, each, turnAway),
		fmt.Sprintf("add @%s { jhash ip6 saddr . th sport mod %d ct count over %d } %s", name, lists, each, turnAway),
	}
}

// countingSet is a set that packets fill, with a list of connections in each of
// its elements.
func countingSet(name, key string, size int) set {
	options := []string{"flags dynamic"}
	if size != visitorSize {
		options = append(options, fmt.Sprintf("size %d", size))
	}
	return set{name: name, key: key, options: options, dynamic: true}
}
