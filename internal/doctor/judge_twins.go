package doctor

import (
	"fmt"
	"slices"
)

// What two machines with one key do is judged from what the gate tells their
// daemons, where both sides are of a version that tells such runs apart.

const endTheCopy = "on the machine that should not be this home; then remove home.json there, and join it as a home of its own"

// gaveWay is a home that leaves the tunnel to a copy of itself.
func gaveWay() Finding {
	return Finding{ID: TwinKey, Where: AtTunnel, Severity: Broken, On: "here",
		Sentence: "Another machine has a copy of this home's key, and gatelodge was started there later: the tunnel leads there, and this machine stands back.",
		Command:  "gatelodge down", Hint: endTheCopy}
}

// judgeRival finds a copy of this home that stands back.
func judgeRival(s Side) []Finding {
	if !s.Tunnel.Rival || s.Tunnel.GaveWay {
		return nil
	}
	return []Finding{{ID: TwinKey, Where: AtTunnel, Severity: Warning, On: "the home",
		Sentence: "Another machine has a copy of this home's key and stands back, because gatelodge was started here later: it takes the tunnel for a moment every few minutes.",
		Command:  "gatelodge down", Hint: endTheCopy}}
}

// judgeTwins finds, on a gate, machines with one key, of which each takes the
// tunnel away from the other.
func judgeTwins(s Side) []Finding {
	var found []Finding
	for _, p := range s.Homes {
		if p.Twins {
			found = append(found, twins(p.Name))
		} else if len(p.Flapped) > 1 {
			found = append(found, Finding{ID: TwinKey, Where: AtTunnel, Severity: Broken, On: "the home",
				Sentence: fmt.Sprintf("Two machines use the key of home %s at once: its packets come from %s and from %s in turn.", p.Name, p.Flapped[0], p.Flapped[1]),
				Command:  "gatelodge down", Hint: "on the copy; then remove home.json there, and join it as a home of its own"})
		}
	}
	return found
}

// twins is a home that runs on two machines.
func twins(home string) Finding {
	return Finding{ID: TwinKey, Where: AtTunnel, Severity: Broken, On: "the home",
		Sentence: fmt.Sprintf("Two machines use the key of home %s at once: the one that was started last has the tunnel, and the other stands back.", home),
		Command:  "gatelodge down", Hint: endTheCopy}
}

// twinHomes are the homes of which nobody can say whether the machine that has
// the tunnel is the one with the services.
func twinHomes(s Side) []Peer {
	return slices.DeleteFunc(slices.Clone(s.Homes), func(p Peer) bool { return !p.Twins })
}
