package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// against returns a client of something that is no honest gate.
func against(t *testing.T, answer http.HandlerFunc) *Client {
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return newClient(t, netip.MustParseAddrPort(s.Listener.Addr().String()))
}

func TestBadGate(t *testing.T) {
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"a web page":    text(200, "<html>"),
		"empty":         text(200, ""),
		"empty object":  text(200, "{}"),
		"empty refusal": text(500, ""),
		"other refusal": text(502, `{"error":"bad gateway"}`),
		"deep":          text(200, strings.Repeat("[", 100_000)),
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(&zeroes{}, maxAnswer+100))
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
		"not of the push": text(200, `{"verdicts":[{"name":"other","state":"granted"}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			c := against(t, answer)
			if _, err := c.Push(t.Context(), 1, someForwards()); !errors.Is(err, &Error{Code: BadAnswer}) {
				t.Errorf("error %v, want %s", err, BadAnswer)
			}
		})
	}
}

func TestRefusalIsMadePlain(t *testing.T) {
	c := against(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(Error{Code: "a\x1bb", Message: "\x1b[2Jcleared\n" + strings.Repeat("x", 5000)})
	})
	_, err := c.State(t.Context())
	e, ok := errors.AsType[*Error](err)
	if !ok || !isPlain(string(e.Code)) || strings.ContainsAny(e.Message, "\x1b\n") || len(e.Message) > maxText+20 {
		t.Errorf("error %q", err)
	}
}

// A newer gate may say more than this home understands.
func TestUnknownFieldsInAnswers(t *testing.T) {
	c := against(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"version":1,"name":"attic","weather":{"sun":true}}`)
	})
	if r, err := c.State(t.Context()); err != nil || r.Name != "attic" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestUnreachable(t *testing.T) {
	broken := errors.New("no route")
	at := netip.MustParseAddrPort("10.99.0.1:51821")
	c := NewClient(at, func(context.Context, string, string) (net.Conn, error) { return nil, broken })
	_, err := c.State(t.Context())
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, broken) || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("error %v", err)
	}
	lost := against(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if _, err := lost.State(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("hung up: %v", err)
	}
}

func TestPushTooLarge(t *testing.T) {
	var allow []netip.Prefix
	for i := range forward.MaxAllow {
		allow = append(allow, netip.MustParsePrefix(fmt.Sprintf("2001:db8:0:%x::/64", i+4096)))
	}
	f := someForwards()[0]
	f.Allow = allow
	c := NewClient(netip.MustParseAddrPort("10.99.0.1:1"), func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled")
		return nil, io.EOF
	})
	_, err := c.Push(t.Context(), 1, slices.Repeat([]forward.Published{f}, forward.MaxForwards))
	if !errors.Is(err, &Error{Code: TooLarge}) {
		t.Errorf("error %v", err)
	}
}

func TestAnswersRefused(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	for name, spoil := range map[string]func(*EnrolResponse){
		"name":           func(r *EnrolResponse) { r.Name = "../etc" },
		"no IPv4":        func(r *EnrolResponse) { r.Address4 = netip.Addr{} },
		"outside":        func(r *EnrolResponse) { r.Address4 = addr("192.168.1.2") },
		"the gate's own": func(r *EnrolResponse) { r.Address4 = r.Gate4 },
		"whole internet": func(r *EnrolResponse) { r.Prefix4 = prefix("0.0.0.0/0") },
		"not masked":     func(r *EnrolResponse) { r.Prefix4 = prefix("10.99.0.1/24") },
		"families mixed": func(r *EnrolResponse) { r.Prefix4, r.Address4, r.Gate4 = r.Prefix6, r.Address6, r.Gate6 },
		"half of IPv6":   func(r *EnrolResponse) { r.Gate6 = netip.Addr{} },
		"multicast": func(r *EnrolResponse) {
			r.Prefix6, r.Address6, r.Gate6 = prefix("ff00::/64"), addr("ff00::2"), addr("ff00::1")
		},
		"zone in address": func(r *EnrolResponse) { r.Address6 = r.Address6.WithZone("\x1b[2J") },
	} {
		r := enrolled()
		if err := r.check(); err != nil {
			t.Fatal(err)
		}
		if spoil(&r); r.check() == nil {
			t.Errorf("%s: accepted %+v", name, r)
		}
	}
	only4 := enrolled()
	only4.Address6, only4.Gate6, only4.Prefix6 = netip.Addr{}, netip.Addr{}, netip.Prefix{}
	if err := only4.check(); err != nil {
		t.Errorf("a tunnel without IPv6: %v", err)
	}
	for name, spoil := range map[string]func(*StateResponse){
		"name":     func(r *StateResponse) { r.Name = "" },
		"digest":   func(r *StateResponse) { r.Digest = "xyz" },
		"verdict":  func(r *StateResponse) { r.Verdicts[0].State = "root" },
		"reason":   func(r *StateResponse) { r.Verdicts[0].Reason = strings.Repeat("x", maxText+1) },
		"note":     func(r *StateResponse) { r.Verdicts[0].Notes = []string{"\x1b"} },
		"notes":    func(r *StateResponse) { r.Verdicts[0].Notes = make([]string, maxNotes+1) },
		"verdicts": func(r *StateResponse) { r.Verdicts = slices.Repeat(r.Verdicts, forward.MaxForwards+1) },
		"public":   func(r *StateResponse) { r.Public = []netip.Addr{{}} },
		"publics":  func(r *StateResponse) { r.Public = slices.Repeat(r.Public, maxPublic+1) },
		"MTU":      func(r *StateResponse) { r.MTU = -1 },
		"observed": func(r *StateResponse) { r.Observed = netip.MustParseAddrPort("[fe80::1%\x1b]:1") },
	} {
		r := stateAnswer()
		if err := r.check(); err != nil {
			t.Fatal(err)
		}
		if spoil(&r); r.check() == nil {
			t.Errorf("%s: accepted %+v", name, r)
		}
	}
}
