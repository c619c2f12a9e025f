package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// before is the daemon of the version before there were numbers: what it answers,
// and what it was made to do.
type before struct {
	mux  *http.ServeMux
	done []string
}

func newBefore() *before {
	b := &before{mux: http.NewServeMux()}
	for place, answer := range map[string]string{
		"GET /status":  `{"role":"gate","version":"v0.1.0","running":true,"tunnel":{"interface":"gatelodge","up":true},"forwards":[],"homes":null,"drift":[],"problems":[]}`,
		"GET /plan":    `{"changes":[]}`,
		"POST /apply":  `{"changes":[],"report":{}}`,
		"GET /doctor":  `{"findings":[],"notes":[],"evidence":{},"remedies":[]}`,
		"POST /stop":   `{}`,
		"POST /invite": `{"name":"attic","invite":"x"}`,
		"POST /revoke": `{}`,
	} {
		b.mux.HandleFunc(place, func(w http.ResponseWriter, _ *http.Request) {
			b.done = append(b.done, place)
			_, _ = io.WriteString(w, answer)
		})
	}
	return b
}

// A command after an upgrade, and a daemon of before that was not restarted: nothing
// is done, and its owner is told what to do. It can be stopped.
func TestADaemonOfTheVersionBefore(t *testing.T) {
	old := newBefore()
	client := NewClient(serve(t, old.mux))
	ctx := t.Context()
	for name, ask := range map[string]func() error{
		"status":  func() error { _, err := client.Status(ctx); return err },
		"plan":    func() error { _, err := client.Plan(ctx); return err },
		"apply":   func() error { _, err := client.Apply(ctx, ApplyRequest{}); return err },
		"confirm": func() error { _, err := client.Confirm(ctx, ConfirmRequest{}); return err },
		"doctor":  func() error { _, err := client.Doctor(ctx); return err },
		"invite":  func() error { _, err := client.Invite(ctx, InviteRequest{Name: "attic"}); return err },
		"revoke":  func() error { return client.Revoke(ctx, "attic") },
	} {
		saysRestart(t, name, ask())
	}
	if len(old.done) > 0 {
		t.Errorf("the daemon has done %v", old.done)
	}
	if err := client.Stop(ctx); err != nil || len(old.done) != 1 {
		t.Errorf("stop: %v, and it has done %v", err, old.done)
	}
}

func TestThePlacesBearTheNumber(t *testing.T) {
	if want := fmt.Sprintf("/v%d", Protocol); placePrefix != want {
		t.Errorf("the places begin with %s, and not with %s", placePrefix, want)
	}
}

func saysRestart(t *testing.T, what string, err error) {
	t.Helper()
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || !strings.Contains(refused.Message, "another version") || !strings.Contains(refused.Hint, "systemctl restart gatelodge") {
		t.Errorf("%s: %v, %+v", what, err, refused)
	}
}

// A command of the version before reads a failure as this; so does one of a
// version to come.
func TestACommandOfAnotherVersion(t *testing.T) {
	stopped := false
	socket := serve(t, NewServer("", fakeDaemon{stop: func() { stopped = true }}, slog.New(slog.DiscardHandler)).mux)
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	ask := func(method, place string) (code int, f failure) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://daemon"+place, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&f); err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		return resp.StatusCode, f
	}
	for place, method := range map[string]string{
		"/status": http.MethodGet, "/plan": http.MethodGet, "/doctor": http.MethodGet, "/apply": http.MethodPost, "/invite": http.MethodPost,
		"/revoke": http.MethodPost, "/confirm": http.MethodPost, "/v1/status": http.MethodGet, "/v3/apply": http.MethodPost, "/": http.MethodGet,
	} {
		code, f := ask(method, place)
		if code != http.StatusConflict {
			t.Errorf("%s is answered with %d", place, code)
		}
		saysRestart(t, place, &RefusedError{Message: f.Error, Hint: f.Hint})
	}
	if _, f := ask(http.MethodPost, "/v2/revoke"); !strings.Contains(f.Error, "for a gate") || f.Hint != "" {
		t.Errorf("a gate's command at another daemon: %+v", f)
	}
	if code, _ := ask(http.MethodPost, "/stop"); code != http.StatusOK || !stopped {
		t.Errorf("stop: %d, stopped: %t", code, stopped)
	}
}

// serve answers at a socket of its own until the test ends.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "daemon.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return socket
}
