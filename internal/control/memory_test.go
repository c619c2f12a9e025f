package control

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/control/sources"
	"github.com/gatelodge/gatelodge/internal/forward"
)

// maxAllocated is what reading one message may allocate in bytes, whatever it
// says.
const maxAllocated = 10 << 20

// allocated returns how many bytes f allocates, those that are freed again
// included.
func allocated(f func()) uint64 {
	before := allocations()
	f()
	return allocations() - before
}

// allocations returns how many bytes this process has ever allocated.
func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// filled repeats a text within a frame up to a size.
func filled(size int, before, part, after string) string {
	n := (size - len(before) - len(after)) / len(part)
	return before + strings.TrimSuffix(strings.Repeat(part, n), ",") + after
}

// hostile returns messages of a size that cost as much memory as possible.
func hostile(size int) map[string]string {
	return map[string]string{
		"verdicts":      filled(size, `{"version":1,"verdicts":[`, `{},`, `]}`),
		"forwards":      filled(size, `{"version":1,"forwards":[`, `{},`, `]}`),
		"ports":         filled(size, `{"version":1,"forwards":[{"ports":[`, `"",`, `]}]}`),
		"many ports":    filled(size, `{"version":1,"forwards":[`, `{"ports":["","","","","","","",""]},`, `]}`),
		"allow":         filled(size, `{"version":1,"forwards":[{"allow":[`, `"",`, `]}]}`),
		"notes":         filled(size, `{"verdicts":[{"notes":[`, `"",`, `]}]}`),
		"public":        filled(size, `{"public":[`, `"",`, `]}`),
		"wrong type":    filled(size, `{"verdicts":[`, `1,`, `]}`),
		"wrong request": filled(size, `{"version":1,"forwards":[`, `[],`, `]}`),
		"unknown":       filled(size, `{"version":1,`, `"a":1,`, `}`),
		"lists unknown": filled(size, `{"version":1,"x":[`, `[],`, `]}`),
		"doctor":        filled(size, `{"side":{"role":"gate","forwards":[`, `{},`, `]}}`),
		"doctor drops":  filled(size, `{"side":{"role":"gate","drops":[`, `{},`, `]}}`),
		"doctor homes":  filled(size, `{"side":{"role":"gate","homes":[{"flapped":[`, `"",`, `]}]}}`),
		"doctor list":   filled(size, `{"side":{"role":"gate","homes":[`, `{"flapped":["","",""]},`, `]}}`),
		"listeners":     filled(size, `{"side":{"role":"gate","forwards":[`, `{"listeners":["","","","","","","","",""]},`, `]}}`),
		"unseen":        filled(size, `{"side":{"role":"gate","unseen":[`, `"\u0001",`, `]}}`),
		"drift":         filled(size, `{"side":{"role":"gate","machine":{"drift":[`, `"",`, `]}}}`),
		"long text":     filled(size, `{"side":{"role":"gate","name":"`, "x", `"}}`),
		"escapes":       filled(size, `{"side":{"role":"gate","name":"`, `\u0001`, `"}}`),
		"no UTF-8":      filled(size, `{"side":{"role":"gate","name":"`, "\xff", `"}}`),
		"number":        filled(size, `{"version":`, "9", `}`),
		"long name":     filled(size, `{"`, "x", `":1}`),
		"spaces":        filled(size, `{`, " ", `}`),
		"quotes":        strings.Repeat(`"`, size),
		"commas":        strings.Repeat(`,`, size),
		"error":         filled(size, `{"code":"a","message":"`, `\u0001`, `"}`),
		"same again":    filled(size, `{`, `"verdicts":[{"notes":["","","",""]},{}],`, `}`),
	}
}

// An answer costs no more than its bound, whatever a gate says.
func TestNoAnswerIsLargeInMemory(t *testing.T) {
	ok, refused := http.StatusOK, http.StatusForbidden
	asks := map[string]struct {
		status int
		ask    func(*Client)
	}{
		"state":   {ok, func(c *Client) { _, _ = c.State(t.Context()) }},
		"push":    {ok, func(c *Client) { _, _ = c.Push(t.Context(), 1, someForwards()) }},
		"doctor":  {ok, func(c *Client) { _, _ = c.Doctor(t.Context(), DoctorAll) }},
		"refusal": {refused, func(c *Client) { _, _ = c.State(t.Context()) }}, // of whatever
	}
	most := uint64(0)
	for name, text := range hostile(maxAnswer) {
		for asked, a := range asks {
			c := against(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(a.status)
				_, _ = io.WriteString(w, text)
			})
			n := allocated(func() { a.ask(c) })
			if most = max(most, n); n > maxAllocated {
				t.Errorf("%s for %s: %d MB for %d MB", name, asked, n>>20, len(text)>>20)
			}
		}
	}
	t.Logf("at most %.1f MB for one answer", float64(most)/(1<<20))
}

// A request costs no more than its bound, whatever a home says.
func TestNoRequestIsLargeInMemory(t *testing.T) {
	most := uint64(0)
	for name, text := range hostile(MaxBody) {
		for _, to := range []struct{ method, path string }{{"PUT", pathForwards}, {"POST", pathEnrol}, {"POST", pathDoctor}} {
			s := NewServer(&fakeGate{}, quiet())
			n := allocated(func() { post(s, to.method, to.path, "10.99.0.2:1", text) })
			if most = max(most, n); n > maxAllocated {
				t.Errorf("%s to %s: %d MB for %d KB", name, to.path, n>>20, len(text)>>10)
			}
		}
	}
	t.Logf("at most %.1f MB for one request", float64(most)/(1<<20))
}

// A home has a share of the bodies that are read at once, and takes none of
// another's.
func TestBodiesAtOnceAreBounded(t *testing.T) {
	s := NewServer(&fakeGate{}, quiet())
	from := netip.MustParseAddr("10.99.0.2")
	for range sources.MaxBodies {
		if !s.sources.BeginBody(from) {
			t.Fatal("a share is smaller than it says")
		}
	}
	if status, body := post(s, "PUT", pathForwards, "10.99.0.2:1", pushBody(webForward)); status != http.StatusTooManyRequests {
		t.Errorf("one more than its share: %d %s", status, body)
	}
	if status, body := post(s, "PUT", pathForwards, "10.99.0.3:1", pushBody(webForward)); status != http.StatusOK {
		t.Errorf("another home: %d %s", status, body)
	}
	if status, body := post(s, "GET", pathState, "10.99.0.2:1", ""); status != http.StatusOK {
		t.Errorf("a message without a body: %d %s", status, body)
	}
	s.sources.EndBody(from)
	if status, body := post(s, "PUT", pathForwards, "10.99.0.2:1", pushBody(webForward)); status != http.StatusOK {
		t.Errorf("with a place again: %d %s", status, body)
	}
}

// The largest messages that the protocol allows are within the bounds.
func TestTheLargestMessagesAreRead(t *testing.T) {
	state := stateAnswer()
	state.Verdicts = slices.Repeat([]Verdict{{Name: "web", State: Refused, Reason: strings.Repeat("r", maxText), Notes: slices.Repeat([]string{"note"}, maxNotes)}}, forward.MaxForwards)
	state.Public = slices.Repeat(state.Public, maxPublic)
	text, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := decodeAnswer(text, new(StateResponse)); err != nil || len(text) > maxAnswer {
		t.Errorf("a state of %d bytes: %v", len(text), err)
	}
	var ports []string
	for p := range forward.MaxPorts {
		ports = append(ports, fmt.Sprintf("%d/tcp", 1+2*p))
	}
	one := Forward{Name: "a", Ports: ports, Families: []string{ipv4}}
	size, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	request := PushRequest{Version: Version, Forwards: slices.Repeat([]Forward{one}, (MaxBody-100)/(len(size)+1))}
	if text, err = json.Marshal(request); err != nil {
		t.Fatal(err)
	}
	if err := decodeRequest(text, new(PushRequest)); err != nil || len(text) > MaxBody || len(text) < MaxBody-2000 {
		t.Errorf("a push of %d bytes: %v", len(text), err)
	}
}
