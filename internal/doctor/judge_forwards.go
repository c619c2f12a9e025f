package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// judgeForwards judges each published port of a home. Where something else
// stops all visitors, lost probes prove nothing and are not judged.
func judgeForwards(e Evidence, blocked bool) []Finding {
	var found []Finding
	all := seen(e)
	var lost, unanswered, refused, unarrived []Forward
	for _, f := range e.Here.Forwards {
		there, known := counterpart(e.There, f)
		if f, is := verdict(f, there, known); is {
			found = append(found, f)
			continue
		}
		if known {
			found = append(found, judgeHeld([]Forward{there}, "the gate")...)
		}
		if blocked {
			continue
		}
		both := merge(f, there)
		if s, is := judgeService(both); is {
			if s, is := ofBoth(all, both, s); is {
				found = append(found, s)
			}
			continue
		}
		switch {
		case both.Inside == TimedOut || both.Inside == Unreachable:
			unanswered = append(unanswered, both)
		case both.Inside == Closed:
			refused = append(refused, both)
		case !both.Outside.failed() || !known:
		case both.After > both.Before:
			lost = append(lost, both)
		default:
			unarrived = append(unarrived, both)
		}
	}
	found = append(found, homeDrops(e.Here, unanswered, "drops", "leaves unanswered")...)
	found = append(found, homeDrops(e.Here, refused, "refuses", "refuses")...)
	found = append(found, gateDrops(e, lost)...)
	return append(found, neverArrived(e, unarrived)...)
}

// counterpart finds what the gate says of a forward.
func counterpart(there *Side, f Forward) (Forward, bool) {
	if there == nil {
		return Forward{}, false
	}
	i := slices.IndexFunc(there.Forwards, func(t Forward) bool {
		return t.Name == f.Name && t.Protocol == f.Protocol && t.Port == f.Port
	})
	if i < 0 {
		return Forward{}, false
	}
	return there.Forwards[i], true
}

// merge adds what the gate knows to what the home knows.
func merge(here, there Forward) Forward {
	here.Inside, here.Holder, here.Before, here.After = there.Inside, there.Holder, there.Before, there.After
	here.Traced, here.Arrived, here.Unwanted, here.Inside6 = there.Traced, there.Arrived, there.Unwanted, there.Inside6
	return here
}

// verdict is a forward that the gate does not carry out.
func verdict(f, there Forward, known bool) (Finding, bool) {
	reason := f.Reason
	if known && there.Reason != "" {
		reason = there.Reason
	}
	switch {
	case known && there.Granted || !known && f.Granted:
		return Finding{}, false
	case f.Pending && !known:
		return Finding{ID: NotGrantedYet, Where: AtMap, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("The gate has not said yet whether it publishes %s (%s).", f.Name, port(f)),
			Command:  "gatelodge apply", Hint: reason}, true
	}
	return Finding{ID: RefusedByPolicy, Where: AtMap, Severity: Broken, On: "the gate",
		Sentence: fmt.Sprintf("The gate refuses to publish %s (%s): %s.", f.Name, port(f), strings.TrimSuffix(reason, ".")),
		Hint:     "publish another port, or have the gate's owner change gate.toml and run there: gatelodge apply"}, true
}

// judgeHeld finds programs of the gate that visitors no longer see.
func judgeHeld(forwards []Forward, on string) []Finding {
	var found []Finding
	for _, f := range forwards {
		if f.Holder == "" || !f.Granted {
			continue
		}
		found = append(found, Finding{ID: PortHeld, Where: AtMap, Severity: Warning, On: on,
			Sentence: fmt.Sprintf("%s on the gate listens on %s as well: visitors get the forward %s, and nobody reaches that program.", f.Holder, port(f), f.Name),
			Command:  fmt.Sprintf("ss -lnp sport = :%d", f.Port), Hint: "stop the program; or keep the port for it: accept, under [firewall] in gate.toml"})
	}
	return found
}

// judgePassing passes on what was seen on the gate to drop forwarded packets.
func judgePassing(s Side) []Finding {
	if d, ok := deedAt(s, Drops, "", 0, Arrival, Passing, Leaving); ok {
		return []Finding{{ID: GateForwardDrops, Where: AtGate, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("%s drops what visitors send.", d), Command: d.command()}}
	}
	if d, ok := deedAt(s, Untracks, "", 0, Arrival); ok {
		at := slices.IndexFunc(s.Forwards, func(f Forward) bool { return f.Port == d.Port && f.Protocol == d.Protocol })
		return []Finding{untracked(d, AtGate, "here", s.Forwards[max(at, 0):min(len(s.Forwards), max(at, 0)+1)])}
	}
	return nil
}

// judgeInside judges, on a gate, what it found at its homes. Those that are
// silent have been named.
func judgeInside(s Side, silent []Peer) []Finding {
	var found []Finding
	lost := map[string][]Forward{} // by home
	for _, f := range s.Forwards {
		gone := slices.ContainsFunc(silent, func(p Peer) bool { return p.Name == f.Home })
		if !f.Granted || gone {
			continue
		}
		switch {
		case f.Inside == Closed && (unusedAtHome(s.Forwards, f) || repeated(s.Forwards, f)):
		case f.Inside == Closed:
			found = append(found, Finding{ID: NotListening, Where: AtService, Severity: Broken, On: "the home",
				Sentence: fmt.Sprintf("Home %s refuses what comes for %s (%s): nothing listens there, or a rule there rejects it.", f.Home, f.Name, port(f)), Command: "gatelodge doctor"})
		case f.Protocol == "tcp" && (f.Inside == TimedOut || f.Inside == Unreachable):
			lost[f.Home] = append(lost[f.Home], f)
		}
	}
	for _, home := range slices.Sorted(maps.Keys(lost)) {
		found = append(found, Finding{ID: HomeDrops, Where: AtHome, Severity: Broken, On: "the home",
			Sentence: fmt.Sprintf("Home %s is there, but does not answer for %s: a firewall there, or a device behind it.", home, names(lost[home])), Command: "gatelodge doctor"})
	}
	return found
}

// inputDrop is a firewall on the gate that lets no WireGuard in.
func inputDrop(d Drop, on string) Finding {
	return Finding{ID: GateInputDrops, Where: AtGate, Severity: Broken, On: on,
		Sentence: fmt.Sprintf("%s drops what is for the gate itself.", d), Command: d.command()}
}

func port(f Forward) string { return fmt.Sprintf("%d/%s", f.Port, f.Protocol) }

func names(list []Forward) string {
	words := make([]string, len(list))
	for i, f := range list {
		words[i] = fmt.Sprintf("%s (%s)", f.Name, port(f))
	}
	return strings.Join(firstFew(words), ", ")
}

func ports(list []Forward) string {
	words := make([]string, len(list))
	for i, f := range list {
		words[i] = fmt.Sprintf("%s port %d", strings.ToUpper(f.Protocol), f.Port)
	}
	return strings.Join(words, ", ")
}
