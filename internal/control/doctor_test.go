package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// examiner is a gate that can look at itself.
type examiner struct {
	fakeGate
	look Look
	kind string
}

func (e *examiner) Doctor(_ context.Context, from netip.Addr, kind string) (Look, error) {
	e.kind = kind
	return e.look, e.asked(from, new(int))
}

func TestDoctorIsAnswered(t *testing.T) {
	gate := &examiner{look: Look{Role: "gate", Daemon: true, Forwards: []LookForward{{Name: "web", Port: 443, Inside: "open"}}}}
	c := newClient(t, serve(t, gate, quiet()))
	for _, kind := range []string{DoctorBrief, DoctorPadded, DoctorCounters, DoctorAll} {
		side, err := c.Doctor(t.Context(), kind)
		if err != nil || gate.kind != kind || len(side.Forwards) != 1 || side.Forwards[0].Inside != "open" {
			t.Errorf("%s: %+v, %v; the gate was asked for %q", kind, side, err, gate.kind)
		}
	}
	if _, err := c.Doctor(t.Context(), "thorough"); !errors.Is(err, &Error{Code: Malformed}) || IsOlder(err) {
		t.Errorf("an unknown kind: %v", err)
	}
}

// A padded question and its answer are several packets each.
func TestPaddedIsLarge(t *testing.T) {
	var asked, answered int
	gate := NewServer(&examiner{look: Look{Role: "gate"}}, quiet())
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		counting := &countingWriter{ResponseWriter: w}
		gate.ServeHTTP(counting, r)
		asked, answered = len(body), counting.n
	})
	if _, err := c.Doctor(t.Context(), DoctorPadded); err != nil || asked < 2*1500 || answered < 2*1500 {
		t.Errorf("asked with %d bytes, answered with %d, %v", asked, answered, err)
	}
	if _, err := c.Doctor(t.Context(), DoctorBrief); err != nil || asked > 1000 || answered > 1000 {
		t.Errorf("brief: asked with %d bytes, answered with %d, %v", asked, answered, err)
	}
}

type countingWriter struct {
	http.ResponseWriter
	n int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.n += len(p)
	return w.ResponseWriter.Write(p)
}

func TestAnOlderGateIsRecognised(t *testing.T) {
	c := newClient(t, serve(t, &fakeGate{}, quiet()))
	if _, err := c.Doctor(t.Context(), DoctorAll); !IsOlder(err) {
		t.Errorf("error %v", err)
	}
}

// What a gate says of itself reaches a terminal: it must be plain text.
func TestDoctorsAnswerIsMadePlain(t *testing.T) {
	evil := Look{Role: "gate", Unseen: []string{"\x1b[2Jgone"}, Forwards: []LookForward{{Name: "web", Holder: "ng\x07inx", Reason: strings.Repeat("x", 5000)}}}
	c := against(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(DoctorResponse{Version: Version, Side: evil})
	})
	side, err := c.Doctor(t.Context(), DoctorAll)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{side.Unseen[0], side.Forwards[0].Holder, side.Forwards[0].Reason} {
		if !isPlain(s) {
			t.Errorf("not plain: %.40q", s)
		}
	}
	for name, bad := range map[string]string{
		"a home":        `{"version":1,"side":{"role":"home"}}`,
		"nobody":        `{}`,
		"a zone":        `{"version":1,"side":{"role":"gate","homes":[{"name":"a","endpoint":"[fe80::1%x]:1"}]}}`,
		"an endless it": `{"version":1,"side":{"role":"gate","unseen":[` + strings.Repeat(`"",`, maxLooked) + `""]}}`,
	} {
		c := against(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, bad) })
		if _, err := c.Doctor(t.Context(), DoctorAll); !errors.Is(err, &Error{Code: BadAnswer}) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
