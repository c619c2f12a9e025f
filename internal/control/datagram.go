package control

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/key"
)

// A home redeems its invite by one datagram each way, at the gate's address for
// pings: before it has joined it has no way to the gate but a tunnel inside its
// own process, which would have to bring a whole TCP for anything else.
//
// The question is datagramMagic, a kind, three zero bytes, 8 random bytes, and an
// EnrolRequest in JSON. The answer is an EnrolResponse or an Error after the same
// 16 bytes, but for the kind. Either may be lost, so the home asks every second;
// a gate that is still busy with the invite, or is asked too often, is silent.
// Gates of before know nothing of it and answer pings alone. They, and the gates
// of now, take the same request as POST /v1/enrol, by which homes of before join.
const (
	datagramMagic   = "GLen"
	datagramKind    = 4 // the place of the kind
	datagramHead    = 16
	datagramAsk     = 'a'
	datagramAnswer  = 'r'
	datagramRefusal = 'e'
	maxDatagram     = 1100 // bytes: they fit into the tunnel's packets, on nearly any path
	maxEnrolling    = 16   // datagrams answered at once, of all sources
	enrolEvery      = time.Second
)

// Datagrams carries messages to a gate's control address, and back.
type Datagrams interface {
	// Send sends a message, which may be lost.
	Send(message []byte) error
	// Receive waits for the next message from there. The error is ctx's once
	// that is done.
	Receive(ctx context.Context) ([]byte, error)
}

// ErrOlderGate says that a gate answers pings and does not answer a datagram.
var ErrOlderGate = errors.New("the gate answers pings, and does not answer the invite")

// Enrol redeems an invite for a place of publicKey at the gate, and asks until
// there is an answer or ctx is done: the gate may be starting just now. If the
// answer is lost, the same call with the same key gets it again. The error is an
// *Error if the gate refuses; it wraps ErrUnreachable if nothing answers at all,
// and ErrOlderGate if pings alone are answered.
func Enrol(ctx context.Context, gate Datagrams, secret key.Secret, publicKey key.Public) (EnrolResponse, error) {
	e, err := newEnrolling(gate, EnrolRequest{Version, secret, publicKey})
	if err != nil {
		return EnrolResponse{}, err
	}
	for {
		answer, err := e.ask(ctx)
		switch {
		case err == nil:
			return readEnrolment(answer)
		case ctx.Err() != nil && e.alive:
			return EnrolResponse{}, fmt.Errorf("%w: %w", ErrOlderGate, err)
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return EnrolResponse{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
	}
}

// enrolling is a home that asks for its place.
type enrolling struct {
	gate     Datagrams
	question []byte
	ping     ping.Packet
	alive    bool // the gate has answered a ping
}

func newEnrolling(gate Datagrams, r EnrolRequest) (*enrolling, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("cannot write the message to the gate: %w", err)
	}
	question := make([]byte, datagramHead, datagramHead+len(body))
	copy(question, datagramMagic)
	question[datagramKind] = datagramAsk
	_, _ = rand.Read(question[datagramHead-8:]) // it never fails (crypto/rand)
	e := &enrolling{gate: gate, question: append(question, body...), ping: ping.Bare()}
	return e, nil
}

// ask asks once, and waits a moment for the answer.
func (e *enrolling) ask(ctx context.Context) (answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, enrolEvery)
	defer cancel()
	if err := errors.Join(e.gate.Send(e.question), e.gate.Send(e.ping[:])); err != nil {
		return nil, err
	}
	for {
		message, err := e.gate.Receive(ctx)
		if err != nil {
			return nil, err
		}
		if answersTo(e.question, message) {
			return message, nil
		}
		pong := e.ping.IsAnsweredBy(message)
		e.alive = e.alive || pong
	}
}

// answersTo reports whether a message answers a question.
func answersTo(question, message []byte) bool {
	if len(message) < datagramHead {
		return false
	}
	kind := message[datagramKind]
	return (kind == datagramAnswer || kind == datagramRefusal) && bytes.Equal(message[:datagramHead], headOf(question, kind))
}

// headOf is what an answer of that kind begins with.
func headOf(question []byte, kind byte) []byte {
	head := bytes.Clone(question[:datagramHead])
	head[datagramKind] = kind
	return head
}

func readEnrolment(answer []byte) (EnrolResponse, error) {
	text := answer[datagramHead:]
	if answer[datagramKind] == datagramRefusal {
		return EnrolResponse{}, refusal("a refusal without a reason", text)
	}
	var r EnrolResponse
	err := decodeAnswer(text, &r)
	return r, err
}

// ServeDatagrams answers pings and invites until ctx is done, and closes the
// connection, which must be in the tunnel. See ping.Serve for runs.
func (s *Server) ServeDatagrams(ctx context.Context, conn net.PacketConn, runs *ping.Runs) error {
	d := &datagrams{PacketConn: conn, server: s, ctx: ctx, buffer: make([]byte, maxDatagram+1), places: make(chan struct{}, maxEnrolling)}
	defer d.running.Wait()
	return ping.Serve(ctx, d, runs)
}

// datagrams is a connection that answers invites itself, and leaves the rest to
// the one that reads from it.
type datagrams struct {
	net.PacketConn
	server  *Server
	ctx     context.Context
	buffer  []byte        // one byte more than a message has, to recognise what is too long
	places  chan struct{} // holds one for each that is answered now
	running sync.WaitGroup
}

// ReadFrom implements net.PacketConn.
func (d *datagrams) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := d.PacketConn.ReadFrom(d.buffer)
		if err != nil || !asksToEnrol(d.buffer[:n]) {
			return copy(b, d.buffer[:n]), from, err
		}
		if d.server.sources.Allow(ping.Source(from.String())) {
			d.begin(bytes.Clone(d.buffer[:n]), from)
		}
	}
}

func asksToEnrol(b []byte) bool {
	return len(b) > datagramHead && len(b) <= maxDatagram && string(b[:len(datagramMagic)]) == datagramMagic && b[datagramKind] == datagramAsk
}

// begin answers a question beside others, if there is a place: a home that gets no
// answer asks again.
func (d *datagrams) begin(question []byte, from net.Addr) {
	select {
	case d.places <- struct{}{}:
	default:
		return
	}
	d.running.Go(func() {
		defer func() { <-d.places }()
		if answer := d.server.enrolment(d.ctx, ping.Source(from.String()), question); answer != nil {
			_, _ = d.WriteTo(answer, from) // like any packet, an answer may be lost
		}
	})
}

// enrolment returns the answer to an invite in a datagram; nil is silence.
func (s *Server) enrolment(ctx context.Context, from netip.Addr, question []byte) (answer []byte) {
	defer func() {
		if cause := recover(); cause != nil {
			s.panics.Do(func() {
				s.log.Error("an invite made the gate panic", "from", from, "panic", cause, "stack", string(debug.Stack()))
			})
			answer = nil
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, responseTimeout)
	defer cancel()
	place, err := s.enrol(ctx, from, question[datagramHead:])
	if errors.Is(err, &Error{Code: TooOften}) {
		return nil
	}
	status, text := s.outcome(place, err)
	if len(text) > maxDatagram-datagramHead {
		status, text = s.outcome(nil, refuse(TooLarge, "the gate's answer is too long"))
	}
	kind := byte(datagramAnswer)
	if status != http.StatusOK {
		kind = datagramRefusal
	}
	return append(headOf(question, kind), text...)
}
