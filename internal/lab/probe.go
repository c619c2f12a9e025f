package lab

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Answer is what a service told a visitor.
type Answer struct {
	Host string         // who answered
	Saw  netip.AddrPort // whom it saw
	Took time.Duration  // from the first packet to the answer
}

// AnswerTime is how long a probe waits: what takes longer does not work.
const AnswerTime = 3 * time.Second

func parseGreeting(line string) (Answer, error) {
	host, addr, _ := strings.Cut(strings.TrimSpace(line), " ")
	saw, err := netip.ParseAddrPort(addr)
	if err != nil {
		return Answer{}, fmt.Errorf("not a greeting of the lab: %.60q", line)
	}
	return Answer{Host: host, Saw: netip.AddrPortFrom(saw.Addr().Unmap(), saw.Port())}, nil
}

// converse connects, talks within AnswerTime, and measures the time it took.
func (h *Host) converse(ctx context.Context, network string, to netip.AddrPort, talk func(net.Conn) (Answer, error)) (Answer, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, AnswerTime)
	defer cancel()
	c, err := h.Dial(ctx, network, to.String())
	if err != nil {
		return Answer{Took: time.Since(start)}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	a, err := talk(c)
	a.Took = time.Since(start)
	return a, err
}

// ProbeTCP connects to an echo service, reads its greeting, and has it return
// a few bytes.
func ProbeTCP(ctx context.Context, from *Host, to netip.AddrPort) (Answer, error) {
	return from.converse(ctx, "tcp", to, func(c net.Conn) (Answer, error) {
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		if err != nil {
			return Answer{}, err
		}
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			return Answer{}, err
		}
		if echo, err := r.ReadString('\n'); err != nil || echo != "hello\n" {
			return Answer{}, fmt.Errorf("the echo was %q: %w", echo, err)
		}
		return parseGreeting(line)
	})
}

// ProbeUDP sends one packet to an echo service.
func ProbeUDP(ctx context.Context, from *Host, to netip.AddrPort) (Answer, error) {
	return from.converse(ctx, "udp", to, func(c net.Conn) (Answer, error) {
		payload := []byte("hello")
		if _, err := c.Write(payload); err != nil {
			return Answer{}, err
		}
		buf := make([]byte, 2048)
		n, err := c.Read(buf)
		if err != nil {
			return Answer{}, err
		}
		line, echo, _ := bytes.Cut(buf[:n], []byte("\n"))
		if !bytes.Equal(echo, payload) {
			return Answer{}, fmt.Errorf("the echo was %q", echo)
		}
		return parseGreeting(string(line))
	})
}

// ProbeHTTP asks a web service for its page.
func ProbeHTTP(ctx context.Context, from *Host, to netip.AddrPort) (Answer, error) {
	return from.converse(ctx, "tcp", to, askPage)
}

// ProbeHTTPS asks home's web service for its page over TLS, and accepts no
// other certificate than home's own.
func (l *Lab) ProbeHTTPS(ctx context.Context, from *Host, to netip.AddrPort) (Answer, error) {
	return from.converse(ctx, "tcp", to, func(c net.Conn) (Answer, error) {
		secure := tls.Client(c, l.cert.clientConfig())
		if err := secure.HandshakeContext(ctx); err != nil {
			return Answer{}, err
		}
		return askPage(secure)
	})
}

func askPage(c net.Conn) (Answer, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+certificateName+"/", nil)
	if err != nil {
		return Answer{}, err
	}
	req.Close = true
	if err := req.Write(c); err != nil {
		return Answer{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return Answer{}, err
	}
	return parseGreeting(string(page))
}

// Direction is that of a large transfer, as the visitor sees it.
type Direction byte

// The two directions.
const (
	Download Direction = 'd'
	Upload   Direction = 'u'
)

// transferTime bounds a large transfer. One that needs longer stalls.
const transferTime = 20 * time.Second

// Transfer moves size bytes to or from home's service for that, and checks
// that they arrived as they were sent.
func Transfer(ctx context.Context, from *Host, to netip.AddrPort, d Direction, size int64) (Answer, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", to.String())
	if err != nil {
		return Answer{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return Answer{}, err
	}
	a, err := parseGreeting(line)
	if err != nil {
		return a, err
	}
	order := binary.BigEndian.AppendUint64([]byte{byte(d)}, uint64(size))
	if _, err := c.Write(order); err != nil {
		return a, err
	}
	err = move(c, r, d, size)
	a.Took = time.Since(start)
	return a, err
}

// move does the transfer that has been ordered, and compares checksums.
func move(c net.Conn, r io.Reader, d Direction, size int64) error {
	sum := sha256.New()
	var n int64
	var err error
	if d == Download {
		n, err = io.CopyN(sum, r, size)
	} else {
		n, err = io.CopyN(io.MultiWriter(c, sum), noise(), size)
	}
	if err != nil {
		return fmt.Errorf("stopped after %d of %d bytes: %w", n, size, err)
	}
	theirs := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, theirs); err != nil {
		return fmt.Errorf("no checksum: %w", err)
	}
	if !bytes.Equal(theirs, sum.Sum(nil)) {
		return errors.New("the checksum differs")
	}
	return nil
}

// ProbeSilence reports whether nothing at all answers, not even a refusal,
// within the given time.
func ProbeSilence(ctx context.Context, from *Host, p forward.Protocol, to netip.AddrPort, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := from.Dial(ctx, p.String(), to.String())
	if err == nil {
		defer c.Close()
		if p == forward.TCP {
			return errors.New("the connection was accepted")
		}
		if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		if _, err = c.Write([]byte("hello")); err == nil {
			_, err = c.Read(make([]byte, 1))
		}
	}
	if err == nil {
		return errors.New("something answered")
	}
	var timeout net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return nil
	}
	return err
}
