package control

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// A ping is pingSize bytes on UDP: pingMagic, a kind, three zero bytes, a
// sequence number of 64 bits and 64 random bits. The answer is the same with
// the other kind: never larger than the question, and never a question
// itself, so that two servers cannot be set on each other.
const (
	pingMagic   = "GLpg"
	pingAsk     = 'a'
	pingAnswer  = 'r'
	pingSize    = 24
	pingTimeout = 3 * time.Second
)

type ping [pingSize]byte

func newPing(sequence uint64) ping {
	var p ping
	copy(p[:], pingMagic)
	p[4] = pingAsk
	binary.BigEndian.PutUint64(p[8:], sequence)
	_, _ = rand.Read(p[16:]) // it never fails (crypto/rand)
	return p
}

// answered returns the answer to a question, and false for anything else.
func answered(packet []byte) (ping, bool) {
	if len(packet) != pingSize || string(packet[:4]) != pingMagic || packet[4] != pingAsk {
		return ping{}, false
	}
	p := ping(packet)
	p[4] = pingAnswer
	return p, true
}

// maxPingFailures bounds how long an endpoint that only fails is read from.
const maxPingFailures = 100

// ServePing answers pings until ctx is done. It closes the connection.
func ServePing(ctx context.Context, conn net.PacketConn) error {
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
		if answer, ok := answered(buffer[:n]); ok && err == nil {
			_, _ = conn.WriteTo(answer[:], from) // like any packet, an answer may be lost
		}
	}
}

// Pinger asks whether a gate lives. It is safe for concurrent use.
type Pinger struct {
	gate     netip.AddrPort
	dial     Dial
	sequence atomic.Uint64
}

// NewPinger returns a Pinger for the gate at the given address in the tunnel.
func NewPinger(gate netip.AddrPort, dial Dial) *Pinger { return &Pinger{gate: gate, dial: dial} }

// Ping sends one ping and returns how long the answer took. It waits until
// ctx is done, and 3 seconds at most.
func (p *Pinger) Ping(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	// A socket of its own for each ping follows every change of addresses.
	conn, err := p.dial(ctx, "udp", p.gate.String())
	if err != nil {
		return 0, p.failed(err)
	}
	defer func() { _ = conn.Close() }() // nothing is buffered
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	rtt, err := exchange(conn, newPing(p.sequence.Add(1)))
	if err != nil {
		return 0, p.failed(errors.Join(ctx.Err(), err))
	}
	return rtt, nil
}

func (p *Pinger) failed(err error) error {
	return fmt.Errorf("%w to a ping at %v: %w", ErrUnreachable, p.gate, err)
}

func exchange(conn net.Conn, question ping) (time.Duration, error) {
	want, _ := answered(question[:])
	start := time.Now()
	if _, err := conn.Write(question[:]); err != nil {
		return 0, err
	}
	buffer := make([]byte, pingSize+1)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return 0, err
		}
		if n == pingSize && ping(buffer[:n]) == want {
			return time.Since(start), nil
		}
	}
}
