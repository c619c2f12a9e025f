package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
)

// A visitor's first byte says what it wants of home's service.
const (
	wantSink     = 'u' // take what comes
	wantSource   = 'd' // send without end
	wantRequests = 'r' // answer each request
	wantOneByte  = 'c' // answer with one byte
)

// What a small HTTP request and its answer come to.
const (
	requestSize  = 200
	responseSize = 1024
)

const bufferSize = 256 << 10

// startService starts what home publishes.
func (s *stand) startService() error {
	home := s.lab.Home()
	if err := home.ServeTCP(port, s.serveVisitor); err != nil {
		return err
	}
	c, err := home.ListenPacket("udp", ":"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	s.ended = append(s.ended, func() { _ = c.Close() })
	udp, ok := c.(*net.UDPConn)
	if !ok {
		return errors.New("no UDP socket")
	}
	go echo(udp)
	return nil
}

// serveVisitor ends when the visitor does.
func (s *stand) serveVisitor(c net.Conn) {
	want := make([]byte, 1)
	if _, err := io.ReadFull(c, want); err != nil {
		return
	}
	switch want[0] {
	case wantSink:
		count(c, &s.received)
	case wantSource:
		fill(c)
	case wantRequests:
		answerRequests(c)
	case wantOneByte:
		_, _ = c.Write(want)
		_, _ = c.Read(want) // the visitor hangs up first
	}
}

// count reads until the other side ends.
func count(c net.Conn, received *atomic.Int64) {
	buf := make([]byte, bufferSize)
	for {
		n, err := c.Read(buf)
		received.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// fill writes until the other side ends.
func fill(c net.Conn) {
	buf := make([]byte, bufferSize)
	for {
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

func answerRequests(c net.Conn) {
	request, response := make([]byte, requestSize), make([]byte, responseSize)
	for {
		if _, err := io.ReadFull(c, request); err != nil {
			return
		}
		if _, err := c.Write(response); err != nil {
			return
		}
	}
}

// echo sends every packet back to where it came from.
func echo(c *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // an error is that of an earlier answer
			_, _ = c.WriteToUDPAddrPort(buf[:n], netip.AddrPortFrom(from.Addr(), from.Port()))
		}
	}
}
