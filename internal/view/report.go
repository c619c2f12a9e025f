package view

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/status"
)

// Report is what `gatelodge status` shows: the verdict, then what it rests on, then
// the forwards. Times are shown relative to now.
func Report(r status.Report, now time.Time, s Style) []string {
	lines := Verdict(r.Judge(now), s)
	p := page{r, now, s}
	if !r.Running {
		return append(lines, s.Pairs([]Pair{{r.Role, strings.TrimPrefix(r.Name+", not running", ", "), Plain}})...)
	}
	lines = append(lines, "")
	lines = append(lines, s.Pairs(slices.Concat(p.head(), p.wrong()))...)
	if r.Role == "gate" {
		lines = append(append(lines, ""), p.homes()...)
	}
	lines = append(append(lines, ""), p.forwards()...)
	return append(append(lines, ""), s.Pairs(p.foot())...)
}

// Homes are the homes of a gate and its open invites alone.
func Homes(r status.Report, now time.Time, s Style) []string { return page{r, now, s}.homes() }

// Verdict is one sentence and the next command to try.
func Verdict(v status.Verdict, s Style) []string {
	text := v.Text
	if v.Hint != "" {
		text += " → " + v.Hint
	}
	return s.Marked(toneOf(v.Level), text)
}

func toneOf(l status.Level) Tone {
	switch l {
	case status.OK:
		return Good
	case status.Warning:
		return Warning
	default:
		return Bad
	}
}

// page is a report as it is written.
type page struct {
	status.Report
	now   time.Time
	style Style
}

func (p page) head() []Pair {
	about := "gatelodge " + p.Version + ", running for " + status.Span(p.now.Sub(p.Since))
	if p.Name != "" {
		about = p.Name + ", " + about
	}
	list := []Pair{{p.Role, about, Plain}}
	if p.Role == "gate" {
		list = append(list, tunnel(p.Tunnel), Pair{"listening", fmt.Sprintf("UDP %d, key %s", p.Tunnel.ListenPort, p.Tunnel.PublicKey), Plain})
		list = append(append(list, trial(p.Input)...), visitors(p.Tunnel)...)
	}
	for _, l := range p.Gates {
		list = append(append(list, tunnel(l.Tunnel), p.gate(l)), visitors(l.Tunnel)...)
	}
	return list
}

func tunnel(t status.Tunnel) Pair {
	state, tone := "", Plain
	if !t.Up {
		state, tone = " is not up", Bad
	}
	return Pair{"tunnel", fmt.Sprintf("%s%s, %s WireGuard%s, MTU %d, %s", t.Interface, state, t.Device, because(t.DeviceWhy), t.MTU, addresses(t.Addresses)), tone}
}

func visitors(t status.Tunnel) []Pair {
	if len(t.Public) == 0 {
		return nil
	}
	return []Pair{{"visitors", "arrive at " + addresses(t.Public), Plain}}
}

func trial(in *status.Input) []Pair {
	if in == nil || in.State != status.OnTrial {
		return nil
	}
	return []Pair{{"on trial", fmt.Sprintf("the input policy, which closes %s; reverted in %s unless it is confirmed: gatelodge confirm", strings.Join(in.Closes, ", "), status.Span(in.Left)), Warning}}
}

func (p page) gate(l status.Link) Pair {
	state, tone := "no answer", Bad
	if l.Connected {
		state, tone = "connected", Plain
	}
	if l.Peer.RoundTrip > 0 {
		state += fmt.Sprintf(", %.1f ms", float64(l.Peer.RoundTrip)/float64(time.Millisecond))
	}
	return Pair{"gate", fmt.Sprintf("%s, %s, latest handshake %s, %s received, %s sent", state, endpoint(l.Peer.Endpoint),
		p.ago(l.Peer.LatestHandshake), bytes(l.Peer.ReceivedBytes), bytes(l.Peer.SentBytes)), tone}
}

// wrong is what keeps something from working.
func (p page) wrong() []Pair {
	var list []Pair
	if p.IsOld(p.now) {
		list = append(list, Pair{"seen", p.ago(p.Seen) + ": since then the daemon could not look at this machine", Warning})
	}
	for _, text := range p.Problems {
		list = append(list, Pair{"problem", p.short(text), Warning})
	}
	for _, text := range p.Drift {
		list = append(list, Pair{"drift", text, Warning})
	}
	return list
}

// short leaves out, on a terminal, what a problem says after what is wrong: what to do
// about it is with the doctor.
func (p page) short(text string) string {
	if p.style.Columns > 0 {
		text, _, _ = strings.Cut(text, "; ")
	}
	return text
}

// homes are a table of them, and of invites.
func (p page) homes() []string {
	if len(p.Report.Homes) == 0 && len(p.Invites) == 0 {
		return []string{"no homes yet: gatelodge gate invite NAME"}
	}
	t := Table{Columns: []Column{
		{}, {Title: "HOME"}, {Title: "STATE", Wrap: true}, {Title: "FORWARDS", Right: true}, {Title: "ADDRESS", Drop: 2, Wrap: true}, {Title: "ENDPOINT", Drop: 1},
		{Title: "HANDSHAKE", Right: true, Drop: 3}, {Title: "RECEIVED", Right: true, Drop: 4}, {Title: "SENT", Right: true, Drop: 4},
	}}
	for _, h := range p.Report.Homes {
		tone, state := Good, "connected"
		if !h.Connected {
			tone, state = Warning, "silent"
		}
		t.Rows = append(t.Rows, []Cell{
			{tone.Mark(), tone}, {h.Name, Bold}, {state, tone}, Text(published(h)), Text(addresses(h.Addresses)), Text(endpoint(h.Peer.Endpoint)),
			Text(p.ago(h.Peer.LatestHandshake)), Text(bytes(h.Peer.ReceivedBytes)), Text(bytes(h.Peer.SentBytes)),
		})
	}
	for _, i := range p.Invites {
		t.Rows = append(t.Rows, []Cell{{}, {i.Name, Bold}, Text("invited, open for " + status.Span(i.Expires.Sub(p.now))), {}, {}, {}, {}, {}, {}})
	}
	return t.Lines(p.style)
}

func published(h status.Home) string {
	if h.Refused == 0 {
		return fmt.Sprint(h.Forwards)
	}
	return fmt.Sprintf("%d (%d refused)", h.Forwards, h.Refused)
}

// foot is what was dropped and let through.
func (p page) foot() []Pair {
	c := p.Counters
	var list []Pair
	if p.Role == "gate" {
		list = append(list, Pair{"dropped", fmt.Sprintf("closed ports %d, invalid %d, spoofed %d, from homes %d", c.Closed, c.Invalid, c.Spoofed, c.Tunnel), Plain})
	} else {
		list = append(list, Pair{"dropped", fmt.Sprintf("unpublished ports %d, invalid %d, spoofed %d, leaks stopped %d", c.Tunnel, c.Invalid, c.Spoofed, c.Leaked), Plain})
	}
	if c.Full > 0 {
		list = append(list, Pair{"full", status.Counted(int(c.Full), "new connection") + " turned away: the rest of the conntrack table is kept for ssh and the tunnel", Warning})
	}
	if c.Local > 0 {
		list = append(list, Pair{"refused", status.Counted(int(c.Local), "packet") + " of other programs on this machine to the gate: in the tunnel only Gatelodge itself may speak to it", Plain})
	}
	for _, text := range p.LetThrough {
		list = append(list, Pair{"let through", text, Plain})
	}
	return list
}

// ago says how long ago something was that the daemon knows of since its start.
func (p page) ago(t time.Time) string {
	if t.IsZero() {
		return "not yet"
	}
	return status.Span(p.now.Sub(t)) + " ago"
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

func addresses(list []netip.Addr) string {
	if len(list) == 0 {
		return "no address"
	}
	text := make([]string, len(list))
	for i, a := range list {
		text[i] = a.String()
	}
	return strings.Join(text, " ")
}

func endpoint(e netip.AddrPort) string {
	if !e.IsValid() {
		return "no endpoint yet"
	}
	return e.String()
}

// bytes shows an amount in binary units, as wg(8) does.
func bytes(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, exponent := float64(n)/unit, 0
	for value >= unit && exponent < 4 {
		value /= unit
		exponent++
	}
	return fmt.Sprintf("%.2f %ciB", value, "KMGTP"[exponent])
}
