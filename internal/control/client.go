package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/forward"
)

// clientTimeout bounds a request from dialling to the last byte. A gate may
// take a few seconds to load a large ruleset.
const clientTimeout = 20 * time.Second

// Dial opens a connection through the tunnel.
type Dial = ping.Dial

// Client is a home's side of the control channel. It is safe for concurrent
// use.
type Client struct {
	gate netip.AddrPort
	http *http.Client
}

// NewClient returns a client of the gate that listens at the given address in
// the tunnel.
func NewClient(gate netip.AddrPort, dial Dial) *Client {
	return &Client{gate: gate, http: &http.Client{
		Timeout: clientTimeout,
		// A gate has no business sending its homes elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dial,
			DisableCompression:     true, // so that a small answer cannot become a large one
			MaxConnsPerHost:        2,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
		},
	}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Push replaces what this home publishes and returns the gate's verdicts.
func (c *Client) Push(ctx context.Context, generation uint64, forwards []forward.Published) (PushResponse, error) {
	var answer PushResponse
	err := c.do(ctx, http.MethodPut, pathForwards, PushRequest{Version, generation, newForwards(forwards)}, &answer)
	if err == nil {
		err = answers(answer.Verdicts, forwards)
	}
	return answer, err
}

// State asks what the gate holds of this home.
func (c *Client) State(ctx context.Context) (StateResponse, error) {
	var answer StateResponse
	err := c.do(ctx, http.MethodGet, pathState, nil, &answer)
	return answer, err
}

// response is an answer that can say how large it may be, and whether it makes
// sense.
type response interface {
	bounds() bounds
	check() error
}

// do sends a message and reads the answer. The error is an *Error if the gate
// answered, and wraps ErrUnreachable if it did not.
func (c *Client) do(ctx context.Context, method, path string, message any, answer response) error {
	request, err := c.request(ctx, method, path, message)
	if err != nil {
		return err
	}
	reply, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("%w at %v: %w", ErrUnreachable, c.gate, err)
	}
	defer func() { _ = reply.Body.Close() }() // it was read as far as it goes
	text, err := io.ReadAll(io.LimitReader(reply.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%w at %v: %w", ErrUnreachable, c.gate, err)
	}
	if len(text) > maxAnswer {
		return badAnswer("it is too large")
	}
	if reply.StatusCode != http.StatusOK {
		return refusal(fmt.Sprintf("HTTP status %d", reply.StatusCode), text)
	}
	return decodeAnswer(text, answer)
}

func (c *Client) request(ctx context.Context, method, path string, message any) (*http.Request, error) {
	var body io.Reader
	if message != nil {
		text, err := json.Marshal(message)
		if err != nil {
			return nil, fmt.Errorf("cannot write the message to the gate: %w", err)
		}
		if len(text) > MaxBody {
			return nil, refuse(TooLarge, "the forwards take %d bytes, and a gate reads %d; join ports and prefixes into ranges", len(text), MaxBody)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.gate.String()+path, body)
	if err != nil {
		return nil, fmt.Errorf("cannot write the message to the gate: %w", err)
	}
	r.Header.Set(versionHeader, strconv.Itoa(Version))
	if message != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, nil
}

// refusal reads an Error, from a gate or from whatever stands in its place; then
// what says how it looks.
func refusal(what string, text []byte) error {
	var e Error
	if answerBounds.check(text) != nil || json.Unmarshal(text, &e) != nil || e.Code == "" || e.Message == "" {
		return badAnswer(what)
	}
	return &Error{Code: Code(plain(string(e.Code))), Message: plain(e.Message)}
}

// DialFrom returns a dialler that binds to our own address in the tunnel: it
// is by its source that such a connection is routed.
func DialFrom(own netip.Addr) Dial {
	from := netip.AddrPortFrom(own, 0)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from)}
		if network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
		return d.DialContext(ctx, network, address)
	}
}
