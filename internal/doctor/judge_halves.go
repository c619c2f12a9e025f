package doctor

import (
	"fmt"
	"strings"
)

// A port without a protocol publishes TCP and UDP, and most services have only one
// of them; of a range, most use a few ports. Where visitors are served by what is
// there, what is missing is worth a note and is no fault: its owner may well want to
// publish it all the same, for HTTP/3 or for a room yet to open.

// unused reports whether a finding is only about a part of a forward that no service
// uses, beside one that is served. All is what is published, as both sides see it.
func unused(all []Forward, f Forward, found Finding) bool {
	if found.ID != NotListening && found.ID != TargetDown {
		return false
	}
	other, ok := otherHalf(all, f)
	return f.ServedBeyond || ok && served(other)
}

// otherHalf finds the forward of the same name and port by the other protocol.
func otherHalf(all []Forward, f Forward) (Forward, bool) {
	for _, o := range all {
		if o.Name == f.Name && o.Home == f.Home && o.Port == f.Port && o.LastPort == f.LastPort && o.Protocol != f.Protocol {
			return o, true
		}
	}
	return Forward{}, false
}

// served reports whether there is a service at all.
func served(f Forward) bool {
	return f.Inside == Open || f.Inside6 == Open || f.Local == Open || f.Outside == Open || len(f.Listeners) > 0 || f.ServedBeyond
}

// servedAtHome is what a gate can tell of it: to a stranger's datagram, silence is
// what most UDP services answer; a port without one refuses it.
func servedAtHome(f Forward) bool {
	return f.Inside == Open || f.Inside6 == Open || f.Protocol == "udp" && f.Inside == TimedOut
}

// seen returns the forwards of a home as both sides see them.
func seen(e Evidence) []Forward {
	all := make([]Forward, len(e.Here.Forwards))
	for i, f := range e.Here.Forwards {
		there, _ := counterpart(e.There, f)
		all[i] = merge(f, there)
	}
	return all
}

// halfNotes tells of what is published and has no service, beside what has.
func halfNotes(e Evidence) []string {
	if e.Here.Role == "gate" {
		return halfNotesOfGate(e.Here)
	}
	var notes []string
	all := seen(e)
	for _, f := range all {
		found, is := judgeService(f)
		switch {
		case !is || !unused(all, f, found):
		case f.ServedBeyond:
			notes = append(notes, fmt.Sprintf("%s (%s): nothing listens on %d, the first port of the range, and something does on another", f.Name, port(f), f.LocalPort))
		default:
			notes = append(notes, fmt.Sprintf("%s (%s): nothing listens there, and visitors use %s; to publish %[3]s alone, write %d/%s in home.toml in place of %[4]d",
				f.Name, port(f), otherProtocol(f), f.Port, strings.ToLower(otherProtocol(f))))
		}
	}
	return notes
}

func halfNotesOfGate(s Side) []string {
	var notes []string
	for _, f := range s.Forwards {
		if f.Granted && f.Inside == Closed && unusedAtHome(s.Forwards, f) {
			notes = append(notes, fmt.Sprintf("home %s refuses what comes for %s (%s), and serves other visitors of it", f.Home, f.Name, port(f)))
		}
	}
	return notes
}

// unusedAtHome is unused as a gate sees it. It tries the first port of a range alone,
// which says nothing of the others.
func unusedAtHome(all []Forward, f Forward) bool {
	other, ok := otherHalf(all, f)
	return f.LastPort > f.Port || ok && servedAtHome(other)
}

// ofBoth judges a finding in the light of the other protocol at the same port: a part
// that no service uses is none, and what holds for both is one.
func ofBoth(all []Forward, f Forward, found Finding) (Finding, bool) {
	if unused(all, f, found) {
		return Finding{}, false
	}
	other, ok := otherHalf(all, f)
	if !ok {
		return found, true
	}
	if same, is := judgeService(other); !is || same.ID != found.ID {
		return found, true
	}
	if found.ID == NotListening {
		found.Sentence = fmt.Sprintf("Nothing listens on port %d here, neither TCP nor UDP, which %s publishes.", f.LocalPort, f.Name)
	}
	return found, f.Protocol == "tcp" // and not once more for UDP
}

// repeated reports whether a refusal has been said of the same port by TCP.
func repeated(all []Forward, f Forward) bool {
	other, ok := otherHalf(all, f)
	return ok && f.Protocol == "udp" && other.Inside == Closed
}

// otherProtocol is the one that f is not about, as people write it.
func otherProtocol(f Forward) string {
	if f.Protocol == "udp" {
		return "TCP"
	}
	return "UDP"
}
