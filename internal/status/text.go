package status

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText prints the report for people. Times are shown relative to now.
func (r Report) WriteText(w io.Writer, now time.Time) error {
	p := &printer{w: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0), now: now}
	p.head(r)
	if !r.Running {
		return p.w.Flush()
	}
	if r.Role == "gate" {
		p.line("")
		p.homes(r)
	}
	p.forwards(r)
	p.counters(r)
	p.list("let through", r.LetThrough)
	p.list("drift", r.Drift)
	p.list("problem", r.Problems)
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

// WriteHomes prints the homes of a gate and its open invites alone.
func (r Report) WriteHomes(w io.Writer, now time.Time) error {
	p := &printer{w: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0), now: now}
	p.homes(r)
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

type printer struct {
	w   *tabwriter.Writer
	now time.Time
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) head(r Report) {
	title := r.Role
	if r.Name != "" {
		title += " " + r.Name
	}
	if !r.Running {
		p.line("%s\tnot running", title)
		return
	}
	p.line("%s\tgatelodge %s, running for %s", title, r.Version, ago(p.now, r.Since))
	if r.Role == "gate" {
		p.tunnel(r.Tunnel)
		p.line("listening\tUDP %d, key %s", r.Tunnel.ListenPort, r.Tunnel.PublicKey)
		p.input(r.Input)
		p.visitors(r.Tunnel)
	}
	for _, l := range r.Gates {
		p.tunnel(l.Tunnel)
		p.line("gate\t%s", p.gate(l))
		p.visitors(l.Tunnel)
	}
	if p.now.Sub(r.Seen) > old && !r.Seen.IsZero() {
		p.line("seen\t%s: since then the daemon could not look at this machine", since(p.now, r.Seen))
	}
}

// old is after how long it is worth saying that a report is not of now. The daemon
// looks every two seconds.
const old = 15 * time.Second

func (p *printer) tunnel(t Tunnel) {
	state := ""
	if !t.Up {
		state = " is not up"
	}
	p.line("tunnel\t%s%s, %s WireGuard%s, MTU %d, %s", t.Interface, state, t.Device, because(t.DeviceWhy), t.MTU, addrs(t.Addresses))
}

func (p *printer) visitors(t Tunnel) {
	if len(t.Public) > 0 {
		p.line("visitors\tarrive at %s", addrs(t.Public))
	}
}

func (p *printer) input(in *Input) {
	if in != nil && in.State == OnTrial {
		p.line("on trial\tthe input policy, which closes %s; reverted in %s unless it is confirmed: gatelodge confirm", strings.Join(in.Closes, ", "), in.Left.Round(time.Second))
	}
}

func (p *printer) gate(l Link) string {
	state := "no answer from the gate"
	if l.Connected {
		state = "connected"
	}
	if l.Peer.RoundTrip > 0 {
		state += fmt.Sprintf(", %.1f ms", float64(l.Peer.RoundTrip)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%s, %s, latest handshake %s, %s received, %s sent", state, endpoint(l.Peer.Endpoint),
		since(p.now, l.Peer.LatestHandshake), bytes(l.Peer.ReceivedBytes), bytes(l.Peer.SentBytes))
}

func (p *printer) homes(r Report) {
	if len(r.Homes) == 0 && len(r.Invites) == 0 {
		p.line("no homes yet\tgatelodge gate invite NAME")
		return
	}
	p.line("HOME\tADDRESS\tSTATE\tENDPOINT\tHANDSHAKE\tFORWARDS\tRECEIVED\tSENT")
	for _, h := range r.Homes {
		p.line("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", h.Name, addrs(h.Addresses), h.state(), endpoint(h.Peer.Endpoint),
			since(p.now, h.Peer.LatestHandshake), count(h), bytes(h.Peer.ReceivedBytes), bytes(h.Peer.SentBytes))
	}
	for _, i := range r.Invites {
		p.line("%s\tinvited, open for %s", i.Name, max(i.Expires.Sub(p.now), 0).Round(time.Minute))
	}
}

func (h Home) state() string {
	if h.Connected {
		return "connected"
	}
	return "silent"
}

func count(h Home) string {
	if h.Refused == 0 {
		return fmt.Sprint(h.Forwards)
	}
	return fmt.Sprintf("%d (%d refused)", h.Forwards, h.Refused)
}

func (p *printer) forwards(r Report) {
	p.line("")
	if len(r.Forwards) == 0 {
		hint := "gatelodge expose PORT"
		if r.Role == "gate" {
			hint = "homes publish with: gatelodge expose PORT"
		}
		p.line("no forwards yet\t%s", hint)
		return
	}
	p.line("FORWARD\tPORTS\tTARGET\tSOURCE\tSTATE")
	for _, f := range r.Forwards {
		p.line("%s\t%s\t%s\t%s\t%s", f.Name, strings.Join(f.Ports, " "), target(f), f.Source, f.state())
	}
}

func target(f Forward) string {
	switch {
	case f.Home != "":
		return "home " + f.Home
	case f.To != "":
		return f.To
	default:
		return "this host"
	}
}

// counted says how many there are of what is named: 1 packet, 2 packets.
func counted(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func (f Forward) state() string {
	text := string(f.State)
	if f.Reason != "" {
		text += ": " + f.Reason
	}
	if f.In != nil && f.Out != nil {
		text += fmt.Sprintf(", %s, %s in, %s out", counted(f.Connections, "connection"), bytes(f.In.Bytes), bytes(f.Out.Bytes))
	}
	if f.Limited > 0 {
		text += fmt.Sprintf(", %s kept out by allow or limit", counted(f.Limited, "packet"))
	}
	return text
}

func (p *printer) counters(r Report) {
	c := r.Counters
	p.line("")
	if r.Role == "gate" {
		p.line("dropped\tclosed ports %d, invalid %d, spoofed %d, from homes %d", c.Closed, c.Invalid, c.Spoofed, c.Tunnel)
		if c.Full > 0 {
			p.line("full\t%s turned away: the rest of the conntrack table is kept for ssh and the tunnel", counted(c.Full, "new connection"))
		}
		return
	}
	p.line("dropped\tunpublished ports %d, invalid %d, spoofed %d, leaks stopped %d", c.Tunnel, c.Invalid, c.Spoofed, c.Leaked)
	if c.Local > 0 {
		p.line("refused\t%s of other programs on this machine to the gate: in the tunnel only Gatelodge itself may speak to it", counted(c.Local, "packet"))
	}
}

func (p *printer) list(title string, lines []string) {
	for _, l := range lines {
		p.line("%s\t%s", title, l)
	}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

func addrs(list []netip.Addr) string {
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

func since(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return ago(now, t) + " ago"
}

// ago never shows a negative time: the clock may have been set back since.
func ago(now, t time.Time) string {
	return max(now.Sub(t), 0).Round(time.Second).String()
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
