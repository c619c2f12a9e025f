package onboard

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// witness is the service that is visited. It answers only those who know its
// word.
type witness struct {
	net.Listener
	port    uint16
	word    string
	visited chan struct{} // holds one item once somebody was there
}

func listenForProof() (*witness, error) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	w := &witness{Listener: l, port: uint16(n), word: rand.Text(), visited: make(chan struct{}, 1)}
	go w.serve()
	return w, nil
}

// serve answers until the listener is closed.
func (w *witness) serve() {
	for {
		c, err := w.Accept()
		if err != nil {
			return
		}
		go w.answer(c)
	}
}

// answer tells a visitor which address it was seen with.
func (w *witness) answer(c net.Conn) {
	defer c.Close()
	if c.SetDeadline(time.Now().Add(visitTry)) != nil {
		return
	}
	line, err := bufio.NewReader(io.LimitReader(c, 100)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != w.word {
		return
	}
	select {
	case w.visited <- struct{}{}:
	default:
	}
	fmt.Fprintf(c, "%s %s\n", w.word, c.RemoteAddr())
}

func (w *witness) wasVisited() bool { return len(w.visited) > 0 }

// visit goes to an address as a visitor does, and returns with which one it
// was seen.
func (w *witness) visit(ctx context.Context, at netip.AddrPort) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, visitTry)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(visitTry)); err != nil {
		return netip.Addr{}, err
	}
	if _, err := fmt.Fprintln(c, w.word); err != nil {
		return netip.Addr{}, err
	}
	line, err := bufio.NewReader(io.LimitReader(c, 200)).ReadString('\n')
	if err != nil {
		return netip.Addr{}, err
	}
	word, seen, _ := strings.Cut(strings.TrimSpace(line), " ")
	addr, err := netip.ParseAddrPort(seen)
	if word != w.word || err != nil || addr.Addr().Zone() != "" {
		return netip.Addr{}, fmt.Errorf("another service answers there: %.60q", line)
	}
	return addr.Addr().Unmap(), nil
}
