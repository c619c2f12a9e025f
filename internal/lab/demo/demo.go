// Package demo shows in a lab all that a gate and its homes do, by what their
// visitors get, and reports it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab"
)

// probe is one kind of visit, made over IPv4 and, unless onlyIPv4, IPv6.
type probe struct {
	title    string
	port     uint16
	protocol forward.Protocol
	host     string // who must answer
	onlyIPv4 bool
	// sees is whom the service must see; nil means the visitor.
	sees func(l demo, gate netip.Addr) (netip.Addr, error)
	note string // said beside an address that is not the visitor's
	ask  func(ctx context.Context, from *lab.Host, to netip.AddrPort) (lab.Answer, error)
}

// demo is a lab in which it is shown.
type demo struct{ *lab.Lab }

// Run makes gate and homes, and probes from the visitor's side all that a
// gate and its homes should and should not do. An error means that it could
// not be tried; what was tried and did not hold is in the report.
func Run(ctx context.Context, in *lab.Lab) (Report, error) {
	l := demo{in}
	first, err := l.Setup(ctx)
	if err != nil {
		return Report{Logs: l.logs()}, err
	}
	r := Report{FirstAnswer: first}
	for _, h := range []*lab.Host{l.Gate(), l.Home()} {
		s, err := h.Status(ctx)
		if err != nil {
			return Report{Logs: l.logs()}, err
		}
		r.Devices = append(r.Devices, Device{Host: h.Name, Kind: s.Device()})
	}
	l.Logf("probing, as a visitor")
	for _, p := range l.probes() {
		r.Results = append(r.Results, l.visit(ctx, p)...)
	}
	r.Results = append(r.Results, l.largeTransfers(ctx)...)
	r.Results = append(r.Results, l.closedPort(ctx)...)
	r.Results = append(r.Results, l.refusedPort(ctx)...)
	r.Results = append(r.Results, l.takenPort(ctx))
	if ctx.Err() != nil {
		return Report{Logs: l.logs()}, context.Cause(ctx)
	}
	if !r.OK() {
		r.Logs = l.logs()
	}
	return r, nil
}

func (l demo) probes() []probe {
	tcp, udp := forward.TCP, forward.UDP
	const last = lab.PortGames + lab.GamePorts - 1
	const middle = lab.PortGames + lab.GamePorts/2
	return []probe{
		{title: "web, HTTP", port: lab.PortWeb, protocol: tcp, host: "home", ask: lab.ProbeHTTP},
		{title: "web, HTTPS with home's own certificate", port: lab.PortHTTPS, protocol: tcp, host: "home", ask: l.ProbeHTTPS},
		{title: "Mumble", port: lab.PortVoice, protocol: tcp, host: "home", ask: lab.ProbeTCP},
		{title: "Mumble", port: lab.PortVoice, protocol: udp, host: "home", ask: lab.ProbeUDP},
		{title: "the gate's ssh stays the gate's own", port: lab.PortGateSSH, protocol: tcp, host: "gate", ask: lab.ProbeSSH},
		{title: "TCP service", port: lab.PortEcho, protocol: tcp, host: "home", ask: lab.ProbeTCP},
		{title: "UDP service on the wildcard address", port: lab.PortEcho, protocol: udp, host: "home", ask: lab.ProbeUDP},
		{title: "port range: first, middle, last", port: lab.PortGames, protocol: udp, host: "home", ask: lab.ProbeUDP},
		{title: "port range: first, middle, last", port: middle, protocol: udp, host: "home", ask: lab.ProbeUDP},
		{title: "port range: first, middle, last", port: last, protocol: udp, host: "home", ask: lab.ProbeUDP},
		{title: "port range: first, middle, last", port: last, protocol: tcp, host: "home", ask: lab.ProbeTCP},
		{title: "remapped port: 8022 is home's 22", port: lab.PortRemapped, protocol: tcp, host: "home", ask: lab.ProbeTCP},
		{title: "service behind a second NAT at home", port: lab.PortContainer, protocol: tcp, host: "container", onlyIPv4: true, ask: lab.ProbeHTTP},
		{title: "device of the LAN", port: lab.PortDevice, protocol: tcp, host: "device", onlyIPv4: true, sees: seesHome, note: "home's own, masquerade", ask: lab.ProbeTCP},
		{title: "device of the LAN", port: lab.PortDevice, protocol: udp, host: "device", onlyIPv4: true, sees: seesHome, note: "home's own, masquerade", ask: lab.ProbeUDP},
		{title: "masquerade mode", port: lab.PortMasked, protocol: tcp, host: "home", sees: seesTunnel, note: "the gate's in the tunnel, masquerade", ask: lab.ProbeTCP},
		{title: "masquerade mode", port: lab.PortMasked, protocol: udp, host: "home", sees: seesTunnel, note: "the gate's in the tunnel, masquerade", ask: lab.ProbeUDP},
		{title: "second home", port: lab.PortHome2, protocol: tcp, host: "home2", ask: lab.ProbeTCP},
		{title: "second home", port: lab.PortHome2, protocol: udp, host: "home2", ask: lab.ProbeUDP},
	}
}

func seesHome(l demo, _ netip.Addr) (netip.Addr, error) { return l.Home().IPv4, nil }

// seesTunnel returns the gate's address in the tunnel, of the family of the
// address the visitor used.
func seesTunnel(l demo, used netip.Addr) (netip.Addr, error) {
	s, err := l.Gate().Status(context.Background())
	if err != nil {
		return netip.Addr{}, err
	}
	addrs, err := l.Gate().Addresses(s.Tunnel.Interface)
	for _, a := range addrs {
		if a.Is4() == used.Is4() && !a.IsLinkLocalUnicast() {
			return a, nil
		}
	}
	return netip.Addr{}, errors.Join(fmt.Errorf("the gate's %s has no such address", s.Tunnel.Interface), err)
}

// paths are the addresses of visitor and gate, one pair for each family.
func (l demo) paths(onlyIPv4 bool) [][2]netip.Addr {
	visitor, gate := l.Visitor(), l.Gate()
	all := [][2]netip.Addr{{visitor.IPv4, gate.IPv4}, {visitor.IPv6, gate.IPv6}}
	if onlyIPv4 {
		return all[:1]
	}
	return all
}

// visit makes a probe and judges the answers.
func (l demo) visit(ctx context.Context, p probe) []Result {
	var results []Result
	for _, path := range l.paths(p.onlyIPv4) {
		r := Result{Title: p.title, Visitor: path[0], Gate: path[1], Port: p.port, Protocol: p.protocol.String(), Host: p.host, Want: path[0]}
		var err error
		if p.sees != nil {
			r.Want, err = p.sees(l, path[1])
			r.Detail = p.note
		}
		if err == nil {
			var a lab.Answer
			a, err = p.ask(ctx, l.Visitor(), netip.AddrPortFrom(path[1], p.port))
			r.judge(a)
		}
		if err != nil {
			r.OK, r.Saw, r.Detail = false, netip.Addr{}, err.Error()
		}
		results = append(results, r)
	}
	return results
}

// judge compares an answer with what was expected.
func (r *Result) judge(a lab.Answer) {
	r.Saw, r.Duration = a.Saw.Addr(), a.Took
	r.OK = a.Host == r.Host && r.Saw == r.Want
	if a.Host != r.Host {
		r.Detail = a.Host + " answered"
	}
}

// What the large transfer moves, and how narrow its path is. Both routers
// beside that wire learn of it; gate and home must find out.
const (
	transferSize = 20_000_000
	narrowMTU    = 1400
	narrowWire   = "cgnat-internet"
)

func (l demo) largeTransfers(ctx context.Context) []Result {
	if err := l.SetMTU(narrowWire, narrowMTU); err != nil {
		return []Result{{Title: "large transfer", Detail: err.Error()}}
	}
	results := append(l.largeTransfer(ctx, lab.Download, "down"), l.largeTransfer(ctx, lab.Upload, "up")...)
	if err := l.SetMTU(narrowWire, 1500); err != nil {
		results = append(results, Result{Title: "large transfer", Detail: err.Error()})
	}
	return results
}

func (l demo) largeTransfer(ctx context.Context, d lab.Direction, name string) []Result {
	p := probe{
		title: fmt.Sprintf("large transfer, path MTU %d", narrowMTU), port: lab.PortBulk, protocol: forward.TCP, host: "home",
		ask: func(ctx context.Context, from *lab.Host, to netip.AddrPort) (lab.Answer, error) {
			return lab.Transfer(ctx, from, to, d, transferSize)
		},
	}
	results := l.visit(ctx, p)
	for i, r := range results {
		if r.OK {
			rate := transferSize * 8 / r.Duration.Seconds() / 1e6
			results[i].Detail = fmt.Sprintf("%d MB %s, checksum right, %.0f Mbit/s", transferSize/1_000_000, name, rate)
		}
	}
	return results
}

// silenceTime is how long a probe listens before it says that nobody answers.
const silenceTime = time.Second

// closedPort probes a port that nobody has published: no answer, and counted.
func (l demo) closedPort(ctx context.Context) []Result {
	const port = 7999
	var results []Result
	for _, path := range l.paths(false) {
		r := Result{Title: "closed port", Visitor: path[0], Gate: path[1], Port: port, Protocol: "tcp"}
		before, err := l.Gate().Status(ctx)
		if err == nil {
			r.silence(ctx, l.Visitor())
			err = l.counted(ctx, before.Counters.Closed)
		}
		if err != nil {
			r.OK, r.Detail = false, strings.TrimSpace(r.Detail+" "+err.Error())
		} else if r.OK {
			r.Detail = "counted by the gate"
		}
		results = append(results, r)
	}
	return results
}

func (r *Result) silence(ctx context.Context, from *lab.Host) {
	p := forward.TCP
	if r.Protocol == "udp" {
		p = forward.UDP
	}
	start := time.Now()
	err := lab.ProbeSilence(ctx, from, p, netip.AddrPortFrom(r.Gate, r.Port), silenceTime)
	r.Duration = time.Since(start)
	if r.OK = err == nil; err != nil {
		r.Detail = err.Error()
	}
}

// countTime is how long the gate may take until its status has what was counted. It
// reads its counters every two seconds, and less often on a busy machine.
const countTime = 20 * time.Second

// counted waits until the gate has counted another packet to a closed port.
func (l demo) counted(ctx context.Context, before uint64) error {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	return lab.Until(ctx, 50*time.Millisecond, func() error {
		s, err := l.Gate().Status(ctx)
		if err == nil && s.Counters.Closed <= before {
			err = fmt.Errorf("the gate's counter of packets to closed ports stays at %d", before)
		}
		return err
	})
}

// refusedPort asks for a port that the gate's policy does not give to this
// home, and then probes it.
func (l demo) refusedPort(ctx context.Context) []Result {
	const port = 6000
	asked := l.refusal(ctx, "port outside the policy", l.Home(), port, "policy")
	results := []Result{asked}
	for _, path := range l.paths(false) {
		r := Result{Title: asked.Title, Visitor: path[0], Gate: path[1], Port: port, Protocol: "tcp"}
		r.silence(ctx, l.Visitor())
		results = append(results, r)
	}
	return results
}

// takenPort asks for a port that the other home has.
func (l demo) takenPort(ctx context.Context) Result {
	return l.refusal(ctx, "port that another home has", l.Home2(), lab.PortHTTPS, l.Home().Name)
}

// refusal has a home ask for a port that it cannot have. What it is told must
// contain the given word.
func (l demo) refusal(ctx context.Context, title string, home *lab.Host, port uint16, word string) Result {
	r := Result{Title: title, Asker: home.Name, Gate: l.Gate().IPv4, Port: port, Protocol: "tcp"}
	start := time.Now()
	reason, err := home.Refused(ctx, fmt.Sprintf("%d/tcp", port), "--name", "extra")
	r.Duration = time.Since(start)
	switch {
	case err != nil:
		r.Detail = err.Error()
	case !strings.Contains(reason, word):
		r.Detail = fmt.Sprintf("the reason does not name %q: %s", word, reason)
	default:
		r.OK, r.Detail = true, reason
	}
	return r
}

// logTail is how much of each daemon's log a failed report shows.
const logTail = 15

func (l demo) logs() []Log {
	var logs []Log
	for _, h := range []*lab.Host{l.Gate(), l.Home(), l.Home2()} {
		logs = append(logs, Log{Host: h.Name, File: h.LogFile(), Tail: h.LogTail(logTail)})
	}
	return logs
}
