package control

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

type ping [pingSize]byte

func newPing(r Run) ping {
	var p ping
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
func (p ping) run() (r Run, named bool) {
	return Run{ID: binary.BigEndian.Uint64(p[16:]), GivenWay: p[pingFlags]&flagStanding != 0}, p[pingFlags]&flagRun != 0
}

// answered returns the answer to a question, and false for anything else.
func answered(packet []byte, s standing) (ping, bool) {
	if len(packet) != pingSize || string(packet[:len(pingMagic)]) != pingMagic || packet[pingKind] != pingAsk {
		return ping{}, false
	}
	p := ping(packet)
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
func (p ping) answers(packet []byte) (standing, bool) {
	if len(packet) != pingSize {
		return standing{}, false
	}
	got := ping(packet)
	s := standing{giveWay: got[pingKind] == pingGiveWay, several: got[pingFlags]&flagSeveral != 0}
	want, _ := answered(p[:], s)
	return s, got == want
}

// maxPingFailures bounds how long an endpoint that only fails is read from.
const maxPingFailures = 100

// ServePing answers pings until ctx is done, and tells runs of one home apart by
// them. It closes the connection.
func ServePing(ctx context.Context, conn net.PacketConn, runs *Runs) error {
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

// NewPinger returns a Pinger for the gate at the given address in the tunnel,
// of one run of a home's daemon.
func NewPinger(gate netip.AddrPort, dial Dial, run Run) *Pinger { return &Pinger{gate, dial, run} }

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

func exchange(conn net.Conn, question ping) (Pong, error) {
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

// PingInterval is how often a home that is well pings its gate: short enough that
// visitors hardly notice a change of address, and it costs about 10 MB a day.
const PingInterval = 2 * time.Second
