package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// What leaves a home arrives at the gate.
func TestForwardsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawPublished(t)
		text, err := json.Marshal(PushRequest{Version, 1, []Forward{NewForward(want)}})
		if err != nil {
			t.Fatal(err)
		}
		var r PushRequest
		if err := decodeRequest(text, &r); err != nil {
			t.Fatal(err)
		}
		got, err := r.published()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]forward.Published{want}, got, compareAddrs); diff != "" {
			t.Fatal(diff)
		}
		if Digest([]forward.Published{want}) != Digest(got) {
			t.Fatal("the digests differ")
		}
	})
}

func drawPublished(t *rapid.T) forward.Published {
	port := rapid.Uint16Range(1, 65535)
	ports := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) forward.Ports {
		a, b := port.Draw(t, "a"), port.Draw(t, "b")
		return forward.Ports{Protocol: rapid.SampledFrom([]forward.Protocol{forward.TCP, forward.UDP}).Draw(t, "protocol"), Range: forward.Range{First: min(a, b), Last: max(a, b)}}
	}), 1, 20).Draw(t, "ports")
	p := forward.Published{
		Name:       rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?`).Draw(t, "name"),
		Ports:      forward.NewPortSet(ports...),
		Families:   rapid.SampledFrom([]forward.Families{{IPv4: true}, {IPv6: true}, {IPv4: true, IPv6: true}}).Draw(t, "families"),
		Masquerade: rapid.Bool().Draw(t, "masquerade"),
		Limit:      forward.Limit{Connections: rapid.Uint32Range(0, forward.MaxConnections).Draw(t, "connections")},
	}
	if n := rapid.Uint32Range(0, 1000).Draw(t, "rate"); n > 0 {
		p.Limit.NewConnections = forward.Rate{Count: n, Per: rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 24 * time.Hour}).Draw(t, "per")}
	}
	for range rapid.IntRange(0, 3).Draw(t, "allow") {
		b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"))
		b[0] = 0x20 // not one of the IPv4-mapped ones
		p.Allow = append(p.Allow, netip.PrefixFrom(netip.AddrFrom16(b), rapid.IntRange(8, 128).Draw(t, "bits")).Masked())
	}
	return p
}

func TestForwardsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Forward){
		"control characters": func(f *Forward) { f.Name = "web\x1b[2J\n" },
		"shell":              func(f *Forward) { f.Name = "$(reboot)" },
		"nft":                func(f *Forward) { f.Name = "web;flush ruleset" },
		"a megabyte":         func(f *Forward) { f.Name = strings.Repeat("a", 1<<20) },
		"no name":            func(f *Forward) { f.Name = "" },
		"no ports":           func(f *Forward) { f.Ports = nil },
		"port 0":             func(f *Forward) { f.Ports = []string{"0/tcp"} },
		"port 65536":         func(f *Forward) { f.Ports = []string{"65536/tcp"} },
		"backwards":          func(f *Forward) { f.Ports = []string{"80-70/tcp"} },
		"a service":          func(f *Forward) { f.Ports = []string{"ssh"} },
		"no protocol":        func(f *Forward) { f.Ports = []string{"80"} },
		"another protocol":   func(f *Forward) { f.Ports = []string{"80/sctp"} },
		"second spelling":    func(f *Forward) { f.Ports = []string{"80-80/tcp"} },
		"overlap":            func(f *Forward) { f.Ports = []string{"80-90/tcp", "85/tcp"} },
		"unsorted":           func(f *Forward) { f.Ports = []string{"443/tcp", "80/tcp"} },
		"too many ports":     func(f *Forward) { f.Ports = everyOtherPort(forward.MaxPorts + 1) },
		"no family":          func(f *Forward) { f.Families = nil },
		"family twice":       func(f *Forward) { f.Families = []string{ipv4, ipv4} },
		"another family":     func(f *Forward) { f.Families = []string{"ipx"} },
		"not a prefix":       func(f *Forward) { f.Allow = []string{"10.0.0.1"} },
		"not masked":         func(f *Forward) { f.Allow = []string{"10.0.0.1/8"} },
		"prefix too long":    func(f *Forward) { f.Allow = []string{"10.0.0.0/33"} },
		"mapped":             func(f *Forward) { f.Allow = []string{"::ffff:10.0.0.0/104"} },
		"second prefix form": func(f *Forward) { f.Allow = []string{"2001:DB8::/32"} },
		"too many prefixes":  func(f *Forward) { f.Allow = slices.Repeat([]string{"10.0.0.0/8"}, forward.MaxAllow+1) },
		"rate":               func(f *Forward) { f.NewConnections = "20/fortnight" },
		"connections":        func(f *Forward) { f.Connections = forward.MaxConnections + 1 },
	} {
		f := NewForward(someForwards()[0])
		if _, err := f.Published(); err != nil {
			t.Fatal(err)
		}
		spoil(&f)
		_, err := f.Published()
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if !isPlain(err.Error()) {
			t.Errorf("%s: error %.200q is not fit for a terminal", name, err)
		}
	}
	most := NewForward(someForwards()[0])
	most.Ports = everyOtherPort(forward.MaxPorts)
	if _, err := most.Published(); err != nil {
		t.Errorf("%d port ranges: %v", forward.MaxPorts, err)
	}
}

func everyOtherPort(n int) []string {
	var ports []string
	for i := range n {
		ports = append(ports, fmt.Sprintf("%d/tcp", 1000+2*i))
	}
	return ports
}

func TestDigestTellsApart(t *testing.T) {
	list := someForwards()
	seen := map[string]bool{Digest(nil): true, Digest(list): true, Digest(list[:1]): true}
	slices.Reverse(list)
	seen[Digest(list)] = true
	list[0].Masquerade = !list[0].Masquerade
	seen[Digest(list)] = true
	if len(seen) != 5 {
		t.Errorf("5 lists have %d digests", len(seen))
	}
	// The order of ports says nothing.
	a, b := someForwards(), someForwards()
	slices.Reverse(b[0].Ports)
	if Digest(a) != Digest(b) {
		t.Error("the order of ports changes the digest")
	}
}

func TestBounds(t *testing.T) {
	b := bounds{list: 100, values: 150}
	list := func(n int) string { return strings.TrimSuffix(strings.Repeat("[],", n), ",") }
	for text, want := range map[string]error{
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth): nil,
		strings.Repeat("[", maxDepth+1):                               errTooDeep,
		`"` + strings.Repeat("[", 100) + `"`:                          nil,
		`"\"` + strings.Repeat("{", 100) + `"`:                        nil,
		`"\\"` + strings.Repeat("{", 100):                             errTooDeep,
		"[1" + strings.Repeat(",1", 99) + "]":                         nil,
		"[1" + strings.Repeat(",1", 100) + "]":                        errTooMany,
		`{"a":1` + strings.Repeat(`,"a":1`, 100) + "}":                errTooMany,
		`["` + strings.Repeat(",", 200) + `"]`:                        nil,
		"[" + list(70) + "]":                                          nil,
		"[" + list(80) + "]":                                          errTooMany, // 160 in all
		strings.Repeat(",", 101):                                      errTooMany,
		strings.Repeat("]", 50) + strings.Repeat("[", maxDepth+1):     errTooDeep,
		`"` + strings.Repeat("x", maxToken-1) + `"`:                   nil,
		`"` + strings.Repeat("x", maxToken+1) + `"`:                   errLongToken,
		strings.Repeat("9", maxToken+1):                               errLongToken,
		strings.Repeat(" ", maxToken+1):                               nil,
		"\"\xff\"":                                                    errNotText,
	} {
		if got := b.check([]byte(text)); !errors.Is(got, want) {
			t.Errorf("%.40s, %d bytes: %v, want %v", text, len(text), got, want)
		}
	}
}

func seeds(f *testing.F) {
	request, err := json.Marshal(PushRequest{Version, 1, newForwards(someForwards())})
	if err != nil {
		f.Fatal(err)
	}
	enrol, err := json.Marshal(EnrolRequest{Version, newSecret(f), key.Public{1}})
	if err != nil {
		f.Fatal(err)
	}
	answer, err := json.Marshal(stateAnswer())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(request), string(enrol), string(answer), "", "null", "[]", "{}", `{"version":1}`, `{"version":1e99}`,
		`{"version":1,"forwards":[null]}`, `{"version":1,"forwards":[{"name":"\u001b"}]}`, `{"VERSION":1,"Version":2}`,
		`{"code":"x","message":"\u0000"}`, strings.Repeat(`{"a":`, 100), "\xff\xfe", `"`,
	} {
		f.Add([]byte(seed))
	}
}

// wantBounded is deferred by a fuzzer: what it has done since cost no more than
// it may.
func wantBounded(t *testing.T, since time.Time, allocated uint64) {
	if n, took := allocations()-allocated, time.Since(since); n > 4*maxAllocated || took > 10*time.Second {
		t.Errorf("%d MB were allocated, and it took %v", n>>20, took)
	}
}

// FuzzRequests holds every decoder of what homes send: no panic, and nothing
// gets through that is not valid in full.
func FuzzRequests(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > MaxBody {
			return
		}
		defer wantBounded(t, time.Now(), allocations())
		var e EnrolRequest
		if err := decodeRequest(body, &e); err == nil && e.Version != Version {
			t.Errorf("accepted version %d", e.Version)
		}
		var r PushRequest
		if decodeRequest(body, &r) != nil {
			return
		}
		list, err := r.published()
		if err != nil {
			if !isPlain(err.Error()) {
				t.Errorf("error %q", err)
			}
			return
		}
		for i, p := range list {
			if forward.CheckName(p.Name) != nil || !cmp.Equal(NewForward(p).Ports, r.Forwards[i].Ports) {
				t.Errorf("accepted %+v", r.Forwards[i])
			}
		}
	})
}

// FuzzAnswers does the same for what gates send.
func FuzzAnswers(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxAnswer {
			return
		}
		defer wantBounded(t, time.Now(), allocations())
		for _, r := range []response{&EnrolResponse{}, &PushResponse{}, &StateResponse{}, &DoctorResponse{}} {
			if decodeAnswer(text, r) != nil {
				continue
			}
			if s, ok := r.(*StateResponse); ok && !isPlain(s.Name+s.Digest) {
				t.Errorf("accepted %+v", s)
			}
		}
		if err := refusal("HTTP status 500", text); !isPlain(err.Error()) {
			t.Errorf("error %q", err)
		}
	})
}
