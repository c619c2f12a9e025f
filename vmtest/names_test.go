//go:build vm

package vmtest

import (
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// gateName is the gate's name in the DNS.
const gateName = "gate.example"

// nameServer knows the gate's name, and can fall silent.
type nameServer struct {
	conn   net.PacketConn
	silent atomic.Bool
}

// startNames serves names on a host until the test ends.
func startNames(t *testing.T, on *lab.Host) *nameServer {
	t.Helper()
	// The address by name: answers from the wildcard address would come from
	// another one.
	conn, err := on.ListenPacket("udp", on.IPv4.String()+":53")
	must(t, err)
	s := &nameServer{conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		check(t, conn.Close())
		<-done
	})
	return s
}

func (s *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if s.silent.Load() {
			continue
		}
		if answer, err := answer(buf[:n]); err == nil {
			_, _ = s.conn.WriteTo(answer, from)
		}
	}
}

// answer gives the gate's IPv4 address for its name, and knows nothing else.
func answer(question []byte) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(question)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	header.Response, header.RecursionAvailable, header.Authoritative = true, true, true
	known := q.Name.String() == gateName+"."
	if !known {
		header.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, header)
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q); err != nil {
		return nil, err
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	if known && q.Type == dnsmessage.TypeA {
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
		if err := b.AResource(h, dnsmessage.AResource{A: [4]byte{198, 51, 100, 1}}); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}
