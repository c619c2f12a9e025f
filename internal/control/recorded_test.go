package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// recorded is what a home and a gate of the version before the wire had types of
// its own have said to each other, about what the fakes of these tests say.
type recorded struct {
	Name    string          `json:"name"`
	Method  string          `json:"method"`
	Path    string          `json:"path"`
	Request json.RawMessage `json:"request"`
	Status  int             `json:"status"`
	Answer  json.RawMessage `json:"answer"`
}

func recordings(t *testing.T) map[string]recorded {
	t.Helper()
	text, err := os.ReadFile("testdata/exchanges-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []recorded
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	all := map[string]recorded{}
	for _, r := range list {
		all[r.Name] = r
	}
	if len(all) != 12 {
		t.Fatalf("%d exchanges are recorded", len(all))
	}
	return all
}

// dropped are the fields that homes of before were told and did not read, and
// those of a gate's look at itself that only homes fill in.
var dropped = []string{
	".instance", ".policy", ".side.name", ".side.tunnel", ".side.strangers",
	".side.forwards.local_port", ".side.forwards.to", ".side.forwards.source_hidden", ".side.forwards.answers_by_router",
	".side.forwards.wants_ipv6", ".side.forwards.listeners", ".side.forwards.only_on", ".side.forwards.local",
	".side.forwards.outside", ".side.forwards.pending", ".side.forwards.packets_before",
}

// says reports what of one value of JSON is missing in another, or differs.
func says(at string, want, got any) []string {
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		var lost []string
		for name, value := range want {
			if place := at + "." + name; !slices.Contains(dropped, place) {
				lost = append(lost, says(place, value, got[name])...)
			}
		}
		return lost
	case []any:
		got, _ := got.([]any)
		if len(got) != len(want) {
			return []string{at}
		}
		var lost []string
		for i := range want {
			lost = append(lost, says(at, want[i], got[i])...)
		}
		return lost
	}
	if !reflect.DeepEqual(want, got) {
		return []string{at}
	}
	return nil
}

func parsed(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// fill sets every field to what the recording has there.
func fill(v reflect.Value) {
	for _, known := range []any{
		netip.MustParseAddr("198.51.100.7"), netip.MustParseAddrPort("198.51.100.7:4711"), netip.MustParsePrefix("10.99.0.0/24"),
		time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC),
	} {
		if reflect.TypeOf(known) == v.Type() {
			v.Set(reflect.ValueOf(known))
			return
		}
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("word")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint16, reflect.Uint64:
		v.SetUint(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
		panic("a kind of field that the recording has not: " + v.Kind().String())
	}
}

func fullLook() Look {
	var l Look
	fill(reflect.ValueOf(&l).Elem())
	l.Role = "gate"
	return l
}

// A gate answers a home of before with all that it understands.
func TestAHomeOfBeforeAtThisGate(t *testing.T) {
	for name, r := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			gate := &examiner{look: fullLook()}
			if strings.HasPrefix(name, "refused") {
				gate.err = &Error{UnknownHome, "this gate has no home at 10.99.0.2; join it with an invite"}
			}
			ask := httptest.NewRequest(r.Method, "http://10.99.0.1:1"+r.Path, bytes.NewReader(r.Request))
			ask.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			NewServer(gate, quiet()).ServeHTTP(w, ask)
			if w.Code != r.Status {
				t.Errorf("status %d, a gate of before said %d: %s", w.Code, r.Status, w.Body)
			}
			if lost := says("", parsed(t, r.Answer), parsed(t, w.Body.Bytes())); len(lost) > 0 {
				t.Errorf("the answer lacks or changes %q: %s", lost, w.Body)
			}
		})
	}
}

// A home says to a gate of before just what homes of before did, and understands
// the answers.
func TestThisHomeAtAGateOfBefore(t *testing.T) {
	all := recordings(t)
	play := func(t *testing.T, name string) *Client {
		r := all[name]
		return against(t, func(w http.ResponseWriter, ask *http.Request) {
			var body bytes.Buffer
			if _, err := body.ReadFrom(ask.Body); err != nil {
				t.Error(err)
			}
			same := body.Len() == 0 && len(r.Request) == 0
			if !same {
				same = reflect.DeepEqual(parsed(t, body.Bytes()), parsed(t, r.Request))
			}
			if ask.Method != r.Method || ask.URL.Path != r.Path || !same {
				t.Errorf("%s %s %s, recorded is %s %s %s", ask.Method, ask.URL.Path, &body, r.Method, r.Path, r.Request)
			}
			w.WriteHeader(r.Status)
			_, _ = w.Write(r.Answer)
		})
	}
	pushed, err := play(t, "push").Push(t.Context(), 8, someForwards())
	if err != nil || len(pushed.Verdicts) != 2 || pushed.Verdicts[1].State != Granted || pushed.Generation != 8 || len(pushed.Public) != 1 {
		t.Errorf("push: %+v, %v", pushed, err)
	}
	if _, err := play(t, "push nothing").Push(t.Context(), 9, nil); err != nil {
		t.Error(err)
	}
	state, err := play(t, "state").State(t.Context())
	want := stateAnswer()
	if err != nil || !reflect.DeepEqual(state, want) {
		t.Errorf("state: %+v, %v, want %+v", state, err, want)
	}
	before := fullLook()
	before.Machine.DriftSysctls = nil // which gates of before do not tell
	for _, kind := range []string{DoctorBrief, DoctorCounters, DoctorAll, DoctorTrace} {
		if look, err := play(t, "doctor "+kind).Doctor(t.Context(), kind); err != nil || !reflect.DeepEqual(look, before) {
			t.Errorf("%s: %+v, %v", kind, look, err)
		}
	}
	unknown := &Error{Code: UnknownHome}
	if _, err := play(t, "refused push").Push(t.Context(), 8, someForwards()); !errors.Is(err, unknown) {
		t.Error(err)
	}
	if _, err := play(t, "refused state").State(t.Context()); !errors.Is(err, unknown) {
		t.Error(err)
	}
	secret, err := key.ParseSecret("000102030405060708090a0b0c0d0e0f")
	if err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(EnrolRequest{Version, secret, key.Public{1}})
	if err != nil || !reflect.DeepEqual(parsed(t, request), parsed(t, all["enrol"].Request)) {
		t.Errorf("enrolment: %s, %v", request, err)
	}
	var place EnrolResponse
	if err := decodeAnswer(all["enrol"].Answer, &place); err != nil || place != enrolled() {
		t.Errorf("place: %+v, %v", place, err)
	}
}

// A side that is asked or answered in a version which it does not know says so,
// and which side to update.
func TestOtherVersions(t *testing.T) {
	for name, test := range map[string]struct{ header, body, want string }{
		"newer header": {"2", `{"version":1,"generation":1,"forwards":[]}`, "update gatelodge on the gate"},
		"newer body":   {"1", `{"version":2,"generation":1,"forwards":[]}`, "update gatelodge on the gate"},
		"no header":    {"", `{"version":2,"weather":1}`, "update gatelodge on the gate"},
		"no version":   {"1", `{"generation":1,"forwards":[]}`, "no version of the control protocol"},
		"no number":    {"new", `{"version":1,"generation":1,"forwards":[]}`, `"new" is not a version`},
		"zero":         {"0", `{"version":1,"generation":1,"forwards":[]}`, `"0" is not a version`},
	} {
		gate := &fakeGate{}
		ask := httptest.NewRequest(http.MethodPut, "http://10.99.0.1:1"+pathForwards, strings.NewReader(test.body))
		ask.Header.Set("Content-Type", "application/json")
		ask.Header.Set(versionHeader, test.header)
		w := httptest.NewRecorder()
		NewServer(gate, quiet()).ServeHTTP(w, ask)
		var e struct{ Message string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != http.StatusBadRequest || !strings.Contains(e.Message, test.want) || gate.pushes > 0 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w.Header().Get(versionHeader) != strconv.Itoa(Version) || !strings.Contains(w.Body.String(), `"version":1`) {
			t.Errorf("%s: the refusal has no version: %v %s", name, w.Header(), w.Body)
		}
	}
	for answer, want := range map[string]error{
		`{"version":2,"weather":1}`:             &Error{Code: NewerVersion, Message: "the gate speaks version 2 of the control protocol, this home version 1; update gatelodge on this machine"},
		`{"name":"attic","digest":""}`:          &Error{Code: BadAnswer},
		`{"version":-1,"name":"attic"}`:         &Error{Code: BadAnswer},
		`{"version":"1","name":"attic"}`:        &Error{Code: BadAnswer},
		`{"version":1,"name":"attic","new":{}}`: nil, // more than this home knows
	} {
		c := against(t, func(w http.ResponseWriter, ask *http.Request) {
			if ask.Header.Get(versionHeader) != strconv.Itoa(Version) {
				t.Errorf("asked without a version: %v", ask.Header)
			}
			_, _ = w.Write([]byte(answer))
		})
		if _, err := c.State(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s: error %v", answer, err)
		}
	}
	refused := against(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"version":3,"code":"gone","message":"update gatelodge at home","more":[]}`))
	})
	if _, err := refused.State(t.Context()); !errors.Is(err, &Error{"gone", "update gatelodge at home"}) {
		t.Errorf("a refusal of a newer gate: %v", err)
	}
}

// Whatever may be published fits into a message, by its true size.
func TestSizeIsThatOfTheWire(t *testing.T) {
	list := someForwards()
	list[1].Limit.Connections = forward.MaxConnections
	for _, p := range list {
		text, err := json.Marshal(NewForward(p))
		if err != nil || len(text)+len(",") != p.Size()-extraCommas(p) {
			t.Errorf("%s takes %d bytes and a comma, Size says %d, %v", text, len(text), p.Size(), err)
		}
	}
	text, err := json.Marshal(PushRequest{Version, 1<<64 - 1, []Forward{}})
	if err != nil || forward.MaxSize+len(text) > MaxBody {
		t.Errorf("a list of %d bytes and %d around it are more than a message has, %v", forward.MaxSize, len(text), err)
	}
}

// extraCommas are those that Size counts after the last entry of each list.
func extraCommas(p forward.Published) int {
	if len(p.Allow) > 0 {
		return 3
	}
	return 2
}

// Every message has one path, and somebody who may send it.
func TestTheTableOfMessages(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range API() {
		if seen[m.Path] || m.serve == nil || m.Who != Invited && m.Who != Homes {
			t.Errorf("%+v", m)
		}
		seen[m.Path] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d messages", len(seen))
	}
}
