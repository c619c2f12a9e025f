package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var compareAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})

// fakeGate remembers what it was asked and answers what it is told to.
type fakeGate struct {
	mu     sync.Mutex
	enrols int
	pushes int
	from   netip.Addr
	pushed []forward.Published
	err    error
	hook   func()
}

func (g *fakeGate) asked(from netip.Addr, count *int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	*count++
	g.from = from
	if g.hook != nil {
		g.hook()
	}
	return g.err
}

func (g *fakeGate) Enrol(_ context.Context, from netip.Addr, _ key.Secret, _ key.Public) (EnrolResponse, error) {
	return enrolled(), g.asked(from, &g.enrols)
}

func (g *fakeGate) Push(_ context.Context, from netip.Addr, generation uint64, forwards []forward.Published) (PushResponse, error) {
	err := g.asked(from, &g.pushes)
	g.pushed = forwards
	r := PushResponse{Generation: generation, Public: []netip.Addr{netip.MustParseAddr("198.51.100.1")}}
	for _, f := range forwards {
		r.Verdicts = append(r.Verdicts, Verdict{Name: f.Name, State: Granted})
	}
	return r, err
}

func (g *fakeGate) State(_ context.Context, from netip.Addr) (StateResponse, error) {
	return stateAnswer(), g.asked(from, new(int))
}

func enrolled() EnrolResponse {
	return EnrolResponse{
		Version:  Version,
		Name:     "attic",
		Address4: netip.MustParseAddr("10.99.0.2"), Gate4: netip.MustParseAddr("10.99.0.1"), Prefix4: netip.MustParsePrefix("10.99.0.0/24"),
		Address6: netip.MustParseAddr("fd00:99::2"), Gate6: netip.MustParseAddr("fd00:99::1"), Prefix6: netip.MustParsePrefix("fd00:99::/64"),
	}
}

func stateAnswer() StateResponse {
	return StateResponse{
		Version: Version, Name: "attic", Generation: 7, Digest: Digest(someForwards()),
		Verdicts: []Verdict{{Name: "web", State: Refused, Reason: "taken", Notes: []string{"note"}}},
		Observed: netip.MustParseAddrPort("203.0.113.9:4711"),
		Public:   []netip.Addr{netip.MustParseAddr("198.51.100.1")},
		MTU:      1380,
	}
}

func someForwards() []forward.Published {
	return []forward.Published{
		{
			Name:     "web",
			Ports:    []forward.Ports{{Protocol: forward.TCP, Range: forward.Range{First: 80, Last: 80}}, {Protocol: forward.UDP, Range: forward.Range{First: 443, Last: 450}}},
			Families: forward.Families{IPv4: true, IPv6: true},
			Allow:    []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			Limit:    forward.Limit{NewConnections: forward.Rate{Count: 20, Per: time.Second}, Connections: 200},
		},
		{
			Name:       "shell",
			Ports:      []forward.Ports{{Protocol: forward.TCP, Range: forward.Range{First: 2222, Last: 2222}}},
			Families:   forward.Families{IPv4: true},
			Masquerade: true,
		},
	}
}

func newSecret(t testing.TB) key.Secret {
	t.Helper()
	s, err := key.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serve runs a server on a port of this machine for the length of a test.
func serve(t testing.TB, gate Gate, logger *slog.Logger) netip.AddrPort {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error { return NewServer(gate, logger).Serve(ctx, l) })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// run runs a task for the length of a test, and wants it to end well.
func run(t testing.TB, task func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- task(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the task ended with %v", err)
		}
	})
}

func newClient(t testing.TB, at netip.AddrPort) *Client {
	c := NewClient(at, new(net.Dialer).DialContext)
	t.Cleanup(c.Close)
	return c
}

func TestConversation(t *testing.T) {
	gate := &fakeGate{}
	c := newClient(t, serve(t, gate, quiet()))
	// As homes do that know no datagrams.
	var place EnrolResponse
	err := c.do(t.Context(), http.MethodPost, pathEnrol, EnrolRequest{Version, newSecret(t), key.Public{1}}, &place)
	if diff := cmp.Diff(enrolled(), place, compareAddrs); err != nil || diff != "" {
		t.Errorf("enrol: %v %s", err, diff)
	}
	pushed, err := c.Push(t.Context(), 7, someForwards())
	if err != nil || pushed.Generation != 7 || len(pushed.Verdicts) != 2 || pushed.Version != Version {
		t.Errorf("push: %+v, %v", pushed, err)
	}
	if diff := cmp.Diff(someForwards(), gate.pushed, compareAddrs); diff != "" {
		t.Errorf("the gate understood something else (-want +got):\n%s", diff)
	}
	state, err := c.State(t.Context())
	if diff := cmp.Diff(stateAnswer(), state, compareAddrs); err != nil || diff != "" {
		t.Errorf("state: %v %s", err, diff)
	}
	if want := netip.MustParseAddr("127.0.0.1"); gate.from != want {
		t.Errorf("the gate saw %v, want %v", gate.from, want)
	}
}

func TestErrorsTravel(t *testing.T) {
	gate := &fakeGate{}
	c := newClient(t, serve(t, gate, quiet()))
	for _, test := range []struct{ err, want error }{
		{refuse(Stale, "the gate has generation %d", 9), &Error{Stale, "the gate has generation 9"}},
		{refuse("some-new-code", "sentence"), &Error{"some-new-code", "sentence"}},
		{errors.New("open /var/lib/gatelodge/gate.json: secret detail"), &Error{Internal, "the gate failed on this message; see its log"}},
	} {
		gate.err = test.err
		if _, err := c.Push(t.Context(), 1, nil); !errors.Is(err, test.want) {
			t.Errorf("got %v, want %v", err, test.want)
		}
	}
}

// post sends a request straight to the server's handler.
func post(s http.Handler, method, path, from, body string, change ...func(*http.Request)) (int, string) {
	r := httptest.NewRequest(method, "http://10.99.0.1:51821"+path, strings.NewReader(body))
	r.RemoteAddr = from
	r.Header.Set("Content-Type", "application/json")
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

const webForward = `{"name":"web","ports":["80/tcp"],"families":["ipv4"]}`

func pushBody(forwards string) string {
	return `{"version":1,"generation":1,"forwards":[` + forwards + `]}`
}

func TestRequestsRefused(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	many := strings.TrimSuffix(strings.Repeat(`{"name":"a"},`, forward.MaxForwards+1), ",")
	for name, test := range map[string]struct {
		method, path, body string
		change             func(*http.Request)
		want               Code
	}{
		"unknown path":      {"GET", "/v1/secrets", "", nil, UnknownPath},
		"path above":        {"GET", "/v1/../v1/state", "", nil, UnknownPath},
		"doubled slash":     {"GET", "//v1/state", "", nil, UnknownPath},
		"no path":           {"GET", "/", "", nil, UnknownPath},
		"wrong method":      {"POST", pathForwards, pushBody(""), nil, Malformed},
		"another method":    {"DELETE", pathForwards, "", nil, Malformed},
		"invented method":   {"BREW", pathState, "", nil, Malformed},
		"no content type":   {"PUT", pathForwards, pushBody(""), func(r *http.Request) { r.Header.Del("Content-Type") }, Malformed},
		"a form":            {"PUT", pathForwards, pushBody(""), header("Content-Type", "text/plain"), Malformed},
		"compressed":        {"PUT", pathForwards, pushBody(""), header("Content-Encoding", "gzip"), Malformed},
		"rebound name":      {"PUT", pathForwards, pushBody(""), func(r *http.Request) { r.Host = "evil.example:51821" }, Forbidden},
		"other page":        {"PUT", pathForwards, pushBody(""), header("Origin", "http://evil.example"), Forbidden},
		"from a browser":    {"GET", pathState, "", header("Sec-Fetch-Site", "same-origin"), Forbidden},
		"no address":        {"GET", pathState, "", func(r *http.Request) { r.RemoteAddr = "pipe" }, Forbidden},
		"empty":             {"PUT", pathForwards, "", nil, Malformed},
		"garbage":           {"PUT", pathForwards, "\x00\xff\x1b[2J", nil, Malformed},
		"half":              {"PUT", pathForwards, pushBody(webForward)[:30], nil, Malformed},
		"two messages":      {"PUT", pathForwards, pushBody("") + pushBody(""), nil, Malformed},
		"deep":              {"PUT", pathForwards, deep, nil, Malformed},
		"deep inside":       {"PUT", pathForwards, `{"version":1,"generation":` + deep + `}`, nil, Malformed},
		"too large":         {"PUT", pathForwards, strings.Repeat(" ", MaxBody+1), nil, TooLarge},
		"too many forwards": {"PUT", pathForwards, pushBody(many), nil, TooLarge},
		"no version":        {"PUT", pathForwards, `{"generation":1,"forwards":[]}`, nil, Malformed},
		"newer version":     {"PUT", pathForwards, `{"version":2,"something":[],"forwards":{}}`, nil, NewerVersion},
		"unknown field":     {"PUT", pathForwards, pushBody(`{"name":"web","ports":["80/tcp"],"families":["ipv4"],"deny":["0.0.0.0/0"]}`), nil, Malformed},
		"negative number":   {"PUT", pathForwards, `{"version":1,"generation":-1,"forwards":[]}`, nil, Malformed},
		"name twice":        {"PUT", pathForwards, pushBody(webForward + "," + webForward), nil, Malformed},
		"bad secret":        {"POST", pathEnrol, `{"version":1,"secret":"00","public_key":"` + key.Public{1}.String() + `"}`, nil, Malformed},
		"bad key":           {"POST", pathEnrol, `{"version":1,"secret":"` + strings.Repeat("00", 16) + `","public_key":"x"}`, nil, Malformed},
		"no key":            {"POST", pathEnrol, `{"version":1,"secret":"` + strings.Repeat("00", 16) + `"}`, nil, Malformed},
		"enrol unknown":     {"POST", pathEnrol, `{"version":1,"secret":"` + strings.Repeat("00", 16) + `","name":"root"}`, nil, Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			gate := &fakeGate{}
			change := test.change
			if change == nil {
				change = func(*http.Request) {}
			}
			status, body := post(NewServer(gate, quiet()), test.method, test.path, "10.99.0.2:1000", test.body, change)
			if status != test.want.status() || !strings.Contains(body, `"code":"`+string(test.want)+`"`) {
				t.Errorf("status %d, body %s; want %s", status, body, test.want)
			}
			if len(body) > 2*maxText || !isPlain(body) {
				t.Errorf("the answer is %d bytes: %q", len(body), body)
			}
			if gate.enrols+gate.pushes > 0 {
				t.Error("the gate was asked all the same")
			}
		})
	}
}

// Unknown fields can come from a newer home, and the answer says so.
func TestUnknownFieldHint(t *testing.T) {
	_, body := post(NewServer(&fakeGate{}, quiet()), "PUT", pathForwards, "10.99.0.2:1", `{"version":1,"colour":"red"}`)
	if !strings.Contains(body, "update the gate") {
		t.Errorf("no hint in %s", body)
	}
}

func TestPanicIsOneLine(t *testing.T) {
	var log bytes.Buffer
	gate := &fakeGate{hook: func() { panic("boom") }}
	s := NewServer(gate, slog.New(slog.NewTextHandler(&log, nil)))
	for range 5 {
		status, body := post(s, "PUT", pathForwards, "10.99.0.2:1", pushBody(""))
		if status != http.StatusInternalServerError || strings.Contains(body, "boom") {
			t.Errorf("status %d, body %s", status, body)
		}
	}
	if n := strings.Count(log.String(), "boom"); n != 1 {
		t.Errorf("%d lines of log, want 1:\n%s", n, log.String())
	}
	gate.hook = nil
	if status, _ := post(s, "PUT", pathForwards, "10.99.0.2:1", pushBody("")); status != http.StatusOK {
		t.Errorf("status %d after the panic", status)
	}
}

func TestSecretStaysOutOfLogs(t *testing.T) {
	r := EnrolRequest{Version, newSecret(t), key.Public{1}}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "request", r)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "request", r)
	if strings.Contains(log.String(), r.Secret.RevealText()) {
		t.Error("the secret is in the log")
	}
}

// zeroes is a body without end that counts what was taken of it.
type zeroes struct{ n atomic.Int64 }

func (z *zeroes) Read(p []byte) (int, error) {
	clear(p)
	z.n.Add(int64(len(p)))
	return len(p), nil
}

// A body of a gigabyte is cut off, announced or not.
func TestHugeBody(t *testing.T) {
	gate := &fakeGate{}
	at := serve(t, gate, quiet())
	for _, announced := range []int64{1 << 30, -1} {
		body := &zeroes{}
		r, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+at.String()+pathForwards, io.LimitReader(body, 1<<30))
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = announced
		r.Header.Set("Content-Type", "application/json")
		transport := &http.Transport{}
		// The server may hang up before the answer is read; both will do.
		if w, err := transport.RoundTrip(r); err == nil {
			if w.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("status %s", w.Status)
			}
			_ = w.Body.Close()
		}
		transport.CloseIdleConnections()
		if n := body.n.Load(); n > 64<<20 {
			t.Errorf("%d bytes were taken", n)
		}
	}
	if gate.pushes != 0 {
		t.Error("the gate was asked")
	}
}
