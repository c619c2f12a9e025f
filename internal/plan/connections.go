package plan

import (
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// ConnectionTable is the kernel's conntrack table. Once it is
// full, new connections are dropped, those of ssh and of the tunnel included.
type ConnectionTable struct {
	Max    int    // entries at most; 0: not known, conntrack is not loaded yet
	Fixed  bool   // this network namespace cannot change that
	Memory uint64 // of the machine, in bytes
	// HalfOpen says for how many seconds a TCP connection is remembered that
	// does not get beyond its first packets: those of HalfOpenTimes that this
	// network namespace has and can change.
	HalfOpen []Sysctl
}

// HalfOpenTimes are the names of those settings (nf_conntrack-sysctl.rst).
var HalfOpenTimes = []string{
	"net.netfilter.nf_conntrack_tcp_timeout_syn_sent",
	"net.netfilter.nf_conntrack_tcp_timeout_syn_recv",
}

// halfOpenSeconds is all that we give such a connection, instead of a minute or
// two: a flood of forged first packets has to be that much faster to take the
// visitors' room. Each packet starts that time again, and a visitor who
// repeats it waits 1, 2, 4 and 8 seconds (RFC 6298); what they send later still
// makes another entry.
const halfOpenSeconds = 10

// The size that we give the table: an entry takes 320 bytes and more, so
// a full one takes at most about a twentieth of the memory.
const (
	bytesPerConnection = 8192
	leastConnections   = 1 << 14
	mostConnections    = 1 << 18
)

// size is how many entries the table shall have: never fewer than it has.
func (t ConnectionTable) size() int {
	if t.Max == 0 || t.Fixed {
		return t.Max
	}
	byMemory := min(max(int(t.Memory/bytesPerConnection), leastConnections), mostConnections)
	return max(t.Max, byMemory)
}

// forVisitors is how many connections visitors may have in all: the rest is
// for ssh, the tunnel and what the machine does beside.
func (t ConnectionTable) forVisitors() int {
	const reserve = 1024
	size := t.size()
	return max(size-max(reserve, size/8), size/2)
}

func (t ConnectionTable) sysctls() []Sysctl {
	var wanted []Sysctl
	if t.size() > t.Max {
		wanted = append(wanted, Sysctl{conntrackMax, strconv.Itoa(t.size())})
	}
	for _, s := range t.HalfOpen {
		if seconds, err := strconv.Atoi(s.Value); err == nil && seconds > halfOpenSeconds {
			wanted = append(wanted, Sysctl{s.Name, strconv.Itoa(halfOpenSeconds)})
		}
	}
	return wanted
}

const conntrackMax = "net.netfilter.nf_conntrack_max"

// LocalPorts is from where the kernel takes the source ports of this machine's
// own connections (ip-sysctl.rst).
type LocalPorts struct {
	Range forward.Range // ip_local_port_range; zero: not known
	// Reserved is the owner's own ip_local_reserved_ports: what it was before
	// us.
	Reserved string
}

// leastLocal is how many of its local ports the gate keeps for its own
// connections, whatever is forwarded: without any it could ask no DNS server.
const leastLocal = 512

// sysctls keep the gate's own connections off ports that belong to others
// there: the answers to a connection from a forwarded port would go to a home,
// once conntrack has forgotten it. Where homes publish nearly all local ports,
// the last ones serve both: an answer is told from a visitor by its connection.
func (l LocalPorts) sysctls(g GateFirewall) []Sysctl {
	var taken portBits
	if l.Range.First == 0 || !taken.parse(l.Reserved) {
		return nil
	}
	taken.add(g.Reserved(), l.Range)
	needed := taken
	for _, f := range g.Forwards {
		taken.add(f.Ports, l.Range)
	}
	free := 0
	for port := int(l.Range.First); port <= int(l.Range.Last); port++ {
		if !taken[port] {
			free++
		}
	}
	for port := int(l.Range.Last); port >= int(l.Range.First) && free < leastLocal; port-- {
		if taken[port] && !needed[port] {
			taken[port] = false
			free++
		}
	}
	return []Sysctl{{LocalReserved, taken.String()}}
}

// LocalReserved is the name of the setting.
const LocalReserved = "net.ipv4.ip_local_reserved_ports"

// portBits is a set of ports as the kernel's lists of ports have it.
type portBits [1 << 16]bool

// add puts ports in, as far as they lie within the range.
func (b *portBits) add(list []forward.Ports, within forward.Range) {
	for _, p := range list {
		for port := max(int(p.Range.First), int(within.First)); port <= min(int(p.Range.Last), int(within.Last)); port++ {
			b[port] = true
		}
	}
}

// parse reads a list such as "22,8000-8010", and reports whether it is one.
func (b *portBits) parse(list string) bool {
	for text := range strings.SplitSeq(list, ",") {
		if text == "" {
			continue
		}
		r, err := forward.ParseRange(text)
		if err != nil {
			return false
		}
		for port := int(r.First); port <= int(r.Last); port++ {
			b[port] = true
		}
	}
	return true
}

// String spells the list as the kernel does, so that it can be compared.
func (b *portBits) String() string {
	var list []string
	for first := 0; first < len(b); first++ {
		if !b[first] {
			continue
		}
		last := first
		for last+1 < len(b) && b[last+1] {
			last++
		}
		text := strconv.Itoa(first)
		if last > first {
			text += "-" + strconv.Itoa(last)
		}
		list, first = append(list, text), last
	}
	return strings.Join(list, ",")
}
