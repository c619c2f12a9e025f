package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/status"
)

// ErrNotRunning is returned by a Client where no daemon listens.
var ErrNotRunning = errors.New("the daemon is not running")

// Client talks to the daemon of this machine over its socket.
type Client struct {
	socket string
	http   *http.Client
}

// maxResponse bounds what is read from the daemon, in bytes: far more than
// the largest report.
const maxResponse = 64 << 20

// NewClient returns a client of the daemon that listens on the socket.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status returns the daemon's report.
func (c *Client) Status(ctx context.Context) (status.Report, error) {
	var r status.Report
	return r, c.call(ctx, http.MethodGet, "/status", nil, &r)
}

// Plan returns what differs from the wanted state.
func (c *Client) Plan(ctx context.Context) (PlanResponse, error) {
	var r PlanResponse
	return r, c.call(ctx, http.MethodGet, "/plan", nil, &r)
}

// Apply makes the daemon read its configuration again and carry it out. On a
// home it also waits a while for the gate's verdict on each forward.
func (c *Client) Apply(ctx context.Context, req ApplyRequest) (ApplyResponse, error) {
	var r ApplyResponse
	return r, c.call(ctx, http.MethodPost, "/apply", req, &r)
}

// Confirm keeps a change that would be reverted otherwise.
func (c *Client) Confirm(ctx context.Context, req ConfirmRequest) (ConfirmResponse, error) {
	var r ConfirmResponse
	return r, c.call(ctx, http.MethodPost, "/confirm", req, &r)
}

// Doctor has the daemon look for what is wrong. It takes a few seconds.
func (c *Client) Doctor(ctx context.Context) (DoctorResponse, error) {
	var r DoctorResponse
	return r, c.call(ctx, http.MethodGet, "/doctor", nil, &r)
}

// Invite makes an invite.
func (c *Client) Invite(ctx context.Context, req InviteRequest) (InviteResponse, error) {
	var r InviteResponse
	return r, c.call(ctx, http.MethodPost, "/invite", req, &r)
}

// Revoke makes the gate forget a home or an invite.
func (c *Client) Revoke(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, "/revoke", RevokeRequest{Name: name}, nil)
}

// Leave has a home's gate publish nothing of it any longer.
func (c *Client) Leave(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/leave", struct{}{}, nil)
}

// Stop ends the daemon. What it set up stays standing.
func (c *Client) Stop(ctx context.Context) error {
	return c.ask(ctx, http.MethodPost, stopPlace, struct{}{}, nil)
}

// call asks for what this version of the messages has.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	return c.ask(ctx, method, placePrefix+path, in, out)
}

func (c *Client) ask(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://daemon"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	return decodeAnswer(resp, out)
}

func decodeAnswer(resp *http.Response, out any) error {
	body := json.NewDecoder(io.LimitReader(resp.Body, maxResponse))
	if resp.StatusCode == http.StatusNotFound {
		return otherVersion() // of before there were numbers
	}
	if resp.StatusCode != http.StatusOK {
		var f failure
		if err := body.Decode(&f); err != nil || f.Error == "" {
			return fmt.Errorf("the daemon answered %s without saying why", resp.Status)
		}
		return &RefusedError{Message: f.Error, Hint: f.Hint}
	}
	if out == nil {
		return nil
	}
	if err := body.Decode(out); err != nil {
		return fmt.Errorf("cannot read the daemon's answer: %w", err)
	}
	return nil
}

func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w (nothing listens on %s)", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot reach the daemon at %s: %w", c.socket, os.ErrPermission)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errors.New("the daemon ended before it had answered; why: gatelodge logs")
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		err = request.Err // without the address, which nobody has typed
	}
	return fmt.Errorf("cannot reach the daemon: %w", err)
}
