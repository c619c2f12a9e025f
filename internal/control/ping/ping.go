// Package ping is how a home tells its gate that it lives, and learns that the gate
// does: a datagram in the tunnel, by which runs of one home are told apart as well.
package ping

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// A ping is pingSize bytes on UDP: pingMagic, a kind, flags, two zero bytes, a
// random number of 64 bits, and the number of the run of the home's daemon that
// asks. The answer is the same with another kind: never larger than the
// question, and never a question itself, so that two servers cannot be set on
// each other.
//
// Flags are a later addition. Homes without them send other random bits in
// place of a run, and get the same answer as ever; gates without them send back
// what they were sent.
const (
	pingMagic   = "GLpg"
	pingAsk     = 'a'
	pingAnswer  = 'r'
	pingGiveWay = 's' // an answer: a later run of this home has the tunnel
	pingSize    = 24
	pingTimeout = 3 * time.Second
)

// The flags.
const (
	flagRun      = 1 << iota // it names a run
	flagStanding             // of a question: this run has given way before
	flagSeveral              // of an answer: another run of this home is there, too
)

const (
	pingKind  = 4 // the place of the kind
	pingFlags = 5
)

// Packet is one ping, or the answer to one.
type Packet [pingSize]byte

func newPing(r Run) Packet {
	var p Packet
	copy(p[:], pingMagic)
	p[pingKind], p[pingFlags] = pingAsk, flagRun
	if r.GivenWay {
		p[pingFlags] |= flagStanding
	}
	_, _ = rand.Read(p[8:16]) // it never fails (crypto/rand)
	binary.BigEndian.PutUint64(p[16:], r.ID)
	return p
}

// run returns which run of a home asks, if the question says so.
func (p Packet) run() (r Run, named bool) {
	return Run{ID: binary.BigEndian.Uint64(p[16:]), GivenWay: p[pingFlags]&flagStanding != 0}, p[pingFlags]&flagRun != 0
}

// answered returns the answer to a question, and false for anything else.
func answered(packet []byte, s standing) (Packet, bool) {
	if len(packet) != pingSize || string(packet[:len(pingMagic)]) != pingMagic || packet[pingKind] != pingAsk {
		return Packet{}, false
	}
	p := Packet(packet)
	p[pingKind] = pingAnswer
	if s.giveWay {
		p[pingKind] = pingGiveWay
	}
	if s.several {
		p[pingFlags] |= flagSeveral
	}
	return p, true
}

// answers returns what an answer to this question says, and false for anything
// else.
func (p Packet) answers(packet []byte) (standing, bool) {
	if len(packet) != pingSize {
		return standing{}, false
	}
	got := Packet(packet)
	s := standing{giveWay: got[pingKind] == pingGiveWay, several: got[pingFlags]&flagSeveral != 0}
	want, _ := answered(p[:], s)
	return s, got == want
}

// maxPingFailures bounds how long an endpoint that only fails is read from.
const maxPingFailures = 100

// Serve answers pings until ctx is done, and tells runs of one home apart by
// them. It closes the connection.
func Serve(ctx context.Context, conn net.PacketConn, runs *Runs) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the read below
	defer stop()
	buffer := make([]byte, pingSize+1) // one more, to recognise what is too long
	for failures := 0; ; {
		n, from, err := conn.ReadFrom(buffer)
		if ctx.Err() != nil {
			return nil
		}
		// Single errors come from ICMP messages to an earlier answer.
		if failures++; err == nil {
			failures = 0
		} else if errors.Is(err, net.ErrClosed) || failures > maxPingFailures {
			return errors.Join(fmt.Errorf("cannot receive pings: %w", err), conn.Close())
		}
		if answer, ok := runs.answer(buffer[:n], from); ok && err == nil {
			_, _ = conn.WriteTo(answer[:], from) // like any packet, an answer may be lost
		}
	}
}

// Pong is what a gate answers to a ping.
type Pong struct {
	RoundTrip time.Duration
	// GiveWay is set where a later run of this home, on another machine, has
	// the tunnel: this one has to leave it alone.
	GiveWay bool
	// Several is set where another run of this home has been heard beside this
	// one.
	Several bool
}

// Pinger asks whether a gate lives. It is safe for concurrent use.
type Pinger struct {
	gate netip.AddrPort
	dial Dial
	run  Run
}

// New returns a Pinger for the gate at the given address in the tunnel,
// of one run of a home's daemon.
func New(gate netip.AddrPort, dial Dial, run Run) *Pinger { return &Pinger{gate, dial, run} }

// Ping sends one ping and returns the answer. It waits until ctx is done, and
// 3 seconds at most.
func (p *Pinger) Ping(ctx context.Context) (Pong, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	// A socket of its own for each ping follows every change of addresses.
	conn, err := p.dial(ctx, "udp", p.gate.String())
	if err != nil {
		return Pong{}, p.failed(err)
	}
	defer func() { _ = conn.Close() }() // nothing is buffered
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	pong, err := exchange(conn, newPing(p.run))
	if err != nil {
		return Pong{}, p.failed(errors.Join(ctx.Err(), err))
	}
	return pong, nil
}

func (p *Pinger) failed(err error) error {
	return fmt.Errorf("%w to a ping at %v: %w", ErrUnreachable, p.gate, err)
}

func exchange(conn net.Conn, question Packet) (Pong, error) {
	start := time.Now()
	if _, err := conn.Write(question[:]); err != nil {
		return Pong{}, err
	}
	buffer := make([]byte, pingSize+1)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return Pong{}, err
		}
		if s, ok := question.answers(buffer[:n]); ok {
			return Pong{RoundTrip: time.Since(start), GiveWay: s.giveWay, Several: s.several}, nil
		}
	}
}

// Interval is how often a home that is well pings its gate: short enough that
// visitors hardly notice a change of address, and it costs about 10 MB a day.
const Interval = 2 * time.Second

// ErrUnreachable is in the chain of every error that means there was no answer.
var ErrUnreachable = errors.New("the gate does not answer")

// Dial opens a connection through the tunnel.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// Bare returns a ping of no run, for who is no home yet.
func Bare() Packet {
	p := newPing(Run{})
	p[pingFlags] = 0
	return p
}

// IsAnsweredBy reports whether a datagram is the answer to the ping.
func (p Packet) IsAnsweredBy(packet []byte) bool {
	_, is := p.answers(packet)
	return is
}

// MaxSources bounds of how many peers anything is remembered.
const MaxSources = 1024

// Source returns the address in HOST:PORT, or the zero Addr.
func Source(remote string) netip.Addr {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}
