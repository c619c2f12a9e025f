package firewall

import "fmt"

// roomLists is over how many lists visitors' connections are counted, by bits
// of the visitor's port. The kernel walks a list whenever it adds to it
// (nf_conncount), so one list of all would cost more with every connection.
// The lowest bit is left out: Linux takes even ports first.
const (
	roomLists = 32
	roomBits  = "0x003e"
)

// roomShare is the part of all that one visitor address may take: a quarter.
const roomShare = 4

// addRoom keeps visitors from filling the kernel's table of connections, so
// that ssh and the tunnel always find room in it, on a gate and at home. Exempting those from tracking
// would do as well, but many firewalls accept ssh only as a new connection,
// and what is not tracked is none.
//
// The lists are elements of sets, not statements of rules: so they outlive
// changes of the rules, and with them the connections that pass.
func (d *document) addRoom(connections int) {
	full := "counter name " + countFull + " drop"
	each, share := max(connections/roomLists, 1), max(connections/roomShare, 1)
	all, one := fmt.Sprintf("room_%d", each), fmt.Sprintf("visitors_%d_", share)
	d.counters = append(d.counters, countFull)
	d.sets = append(d.sets, set{name: all, key: "inet_service", options: []string{"flags dynamic", "size 65535"}, dynamic: true})
	d.sets = append(d.sets, visitorSets(one, "flags dynamic")...)
	room := chain{name: "room", rules: perVisitor("add", one, fmt.Sprintf("ct count over %d", share), full)}
	room.rules = append(room.rules, fmt.Sprintf("meta l4proto { tcp, udp } add @%s { th sport and %s ct count over %d } %s", all, roomBits, each, full))
	d.chains = append(d.chains, room)
}
