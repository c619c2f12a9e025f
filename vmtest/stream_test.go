//go:build vm

package vmtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// stream is a visitor who sends a packet all the time and counts what comes
// back.
type stream struct {
	conn net.Conn
	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex
	sent     uint64
	answered map[uint64]bool
	last     time.Time     // when the last answer came
	gap      time.Duration // the longest time without one
}

// every is how often a packet is sent.
const every = 20 * time.Millisecond

// newStream begins a stream of UDP packets to a port of the gate.
func (w *world) newStream(t *testing.T, port uint16) *stream {
	t.Helper()
	conn, err := w.lab.Visitor().Dial(t.Context(), "udp", gateAt(port).String())
	must(t, err)
	s := &stream{conn: conn, stop: make(chan struct{}), answered: map[uint64]bool{}, last: time.Now()}
	s.done.Go(s.send)
	s.done.Go(s.receive)
	return s
}

func (s *stream) send() {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		s.sent++
		number := binary.BigEndian.AppendUint64(nil, s.sent)
		s.mu.Unlock()
		_, _ = s.conn.Write(number) // one that is not sent is one lost
	}
}

func (s *stream) receive() {
	buf := make([]byte, 2048)
	for {
		n, err := s.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		_, number, ok := bytes.Cut(buf[:n], []byte("\n"))
		if err != nil || !ok || len(number) != 8 {
			continue // an ICMP error of an earlier packet, which then is lost
		}
		s.mu.Lock()
		s.answered[binary.BigEndian.Uint64(number)] = true
		now := time.Now()
		s.gap = max(s.gap, now.Sub(s.last))
		s.last = now
		s.mu.Unlock()
	}
}

// end ends the stream, waits for answers under way, and returns how many
// packets got none and the longest time without an answer.
func (s *stream) end(t *testing.T) (sent, lost int, gap time.Duration) {
	t.Helper()
	close(s.stop)
	must(t, s.conn.SetReadDeadline(time.Now().Add(3*time.Second)))
	s.done.Wait()
	check(t, s.conn.Close())
	return int(s.sent), int(s.sent) - len(s.answered), s.gap
}

// connection is a visitor's TCP connection that lasts.
type connection struct{ net.Conn }

func (w *world) connect(t *testing.T, port uint16) connection {
	t.Helper()
	conn, err := w.lab.Visitor().Dial(t.Context(), "tcp", gateAt(port).String())
	must(t, err)
	c := connection{conn}
	t.Cleanup(func() { _ = c.Close() })
	buf := make([]byte, 256)
	must(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = c.Read(buf) // the greeting
	must(t, err)
	c.alive(t)
	return c
}

// alive checks that the connection still carries data both ways.
func (c connection) alive(t *testing.T) {
	t.Helper()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	_, err := c.Write([]byte("still there\n"))
	must(t, err)
	buf := make([]byte, 256)
	n, err := c.Read(buf)
	must(t, err)
	if string(buf[:n]) != "still there\n" {
		t.Fatalf("the echo was %q", buf[:n])
	}
}
