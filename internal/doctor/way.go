package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Walked is a hop of a visitor's way, as far as it was looked at.
type Walked struct {
	Hop   Hop    `json:"hop"`
	State State  `json:"state"`
	Text  string `json:"text"` // what was seen there, for people
}

// State is what came of the look at a hop.
type State string

// The states of a hop. What was not looked at is never taken for sound.
const (
	Sound     State = "sound"
	Worrying  State = "warning" // a finding there is a warning
	Defective State = "broken"  // a finding there is broken
	Unseen    State = "unseen"
)

// Way returns the hops in the order in which a visitor passes them, with what was
// seen of each, beside what was found.
func Way(e Evidence, found []Finding) []Walked {
	way := wayOfGate(e.Here)
	if e.Here.Role != "gate" {
		way = wayOfHome(e)
	}
	for i := range way {
		way[i].State = stateOf(way[i], found)
	}
	return way
}

// stateOf is the worst of the findings at a hop; without one, what the look said.
func stateOf(w Walked, found []Finding) State {
	state := w.State
	for _, f := range found {
		switch {
		case f.Where != w.Hop:
		case f.Severity == Broken:
			return Defective
		default:
			state = Worrying
		}
	}
	return state
}

// saw is a hop that was looked at, unless it was not.
func saw(hop Hop, looked bool, text string) Walked {
	if !looked {
		return Walked{hop, Unseen, text}
	}
	return Walked{hop, Sound, text}
}

func wayOfHome(e Evidence) []Walked {
	t := e.Here.Tunnel
	way := []Walked{machineHop(e.Here), nameHop(t), tunnelHop(t), gateFirewall(e)}
	if !e.Here.Daemon {
		return way[:1] // nobody has looked at the rest
	}
	return append(way, mapHop(e), firewall(AtHome, e.Here, "this machine's"), serviceHop(seen(e)), fromOutside(e))
}

func wayOfGate(s Side) []Walked {
	way := []Walked{machineHop(s)}
	if !s.Daemon {
		return way
	}
	heard := 0
	for _, h := range s.Homes {
		if h.Heard {
			heard++
		}
	}
	answered, tried := 0, 0
	for _, f := range s.Forwards {
		if f.Inside != Untried {
			tried++
		}
		if servedAtHome(f) {
			answered++
		}
	}
	return append(way, firewall(AtGate, s, "this machine's"),
		saw(AtTunnel, true, fmt.Sprintf("%d of %s heard while this was looked at", heard, several(len(s.Homes), "home"))),
		saw(AtService, tried > 0, fmt.Sprintf("%d of %s answered through the tunnel", answered, several(tried, "tried port"))))
}

func machineHop(s Side) Walked {
	m := s.Machine
	text := []string{"nft " + or(m.NFT, "unknown"), or(m.Device, "no") + " WireGuard"}
	if m.Conntrack.Max > 0 {
		text = append(text, fmt.Sprintf("%d of %d connections in the conntrack table", m.Conntrack.Count, m.Conntrack.Max))
	}
	if !s.Daemon {
		text = append(text, "no daemon")
	}
	return saw(AtMachine, !m.StateUnseen, strings.Join(text, ", "))
}

func nameHop(t Tunnel) Walked {
	var text []string
	for _, n := range t.Names {
		switch {
		case n.Literal:
			text = append(text, n.Endpoint)
		case n.Error != "":
			text = append(text, n.Endpoint+" is not found now")
		default:
			text = append(text, fmt.Sprintf("%s (%s)", n.Endpoint, addresses(n.Addresses)))
		}
	}
	return saw(AtName, len(text) > 0, "the gate is looked for at "+or(strings.Join(text, ", "), "no address"))
}

func tunnelHop(t Tunnel) Walked {
	if !t.Answers {
		return saw(AtTunnel, false, "the gate did not answer")
	}
	text := fmt.Sprintf("the gate answers after %.1f ms, MTU %d", float64(t.RoundTrip)/float64(time.Millisecond), t.MTU)
	if t.Large == Open {
		text += ", large packets pass both ways"
	}
	return saw(AtTunnel, true, text)
}

// gateFirewall is what the gate has told of its own.
func gateFirewall(e Evidence) Walked {
	if e.There == nil {
		return saw(AtGate, false, "the gate has told nothing of its own")
	}
	return firewall(AtGate, *e.There, "the gate's")
}

// firewall is what others do there to our packets.
func firewall(hop Hop, s Side, whose string) Walked {
	if n := len(s.Drops); n > 0 {
		return saw(hop, true, fmt.Sprintf("%s: %s of others concern our packets", whose, several(n, "rule")))
	}
	if len(s.Unseen) > 0 {
		return saw(hop, false, whose+": not all could be read: "+strings.Join(s.Unseen, "; "))
	}
	return saw(hop, true, whose+": no rule of others drops or changes our packets")
}

func mapHop(e Evidence) Walked {
	granted := 0
	for _, f := range e.Here.Forwards {
		if there, known := counterpart(e.There, f); known && there.Granted || !known && f.Granted {
			granted++
		}
	}
	return saw(AtMap, true, fmt.Sprintf("%d of %s granted by the gate", granted, several(len(e.Here.Forwards), "published port")))
}

func serviceHop(all []Forward) Walked {
	there := 0
	for _, f := range all {
		if served(f) {
			there++
		}
	}
	return saw(AtService, len(all) > 0, fmt.Sprintf("%d of %s have a service", there, several(len(all), "published port")))
}

// fromOutside is what was visited at the gate's public address, out by home's own line
// and back through the tunnel: the whole way.
func fromOutside(e Evidence) Walked {
	visited, tried := 0, 0
	for _, f := range e.Here.Forwards {
		if f.Outside != Untried {
			tried++
		}
		if f.Outside == Open {
			visited++
		}
	}
	if tried == 0 {
		return saw(AtWayBack, false, "nothing was visited from outside: there is no TCP port without an allow list")
	}
	return saw(AtWayBack, visited > 0, fmt.Sprintf("%d of %s answered a visit from outside", visited, several(tried, "TCP port")))
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// several says how many there are of what is named.
func several(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func addresses(list []netip.Addr) string {
	text := make([]string, len(list))
	for i, a := range list {
		text[i] = a.String()
	}
	return strings.Join(text, ", ")
}
