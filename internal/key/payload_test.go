package key

import (
	"crypto/sha256"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestInviteEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Invite){
		"IPv6 gate":      func(v *Invite) { v.GateAddress = netip.MustParseAddr("fd99::1") },
		"no address":     func(v *Invite) { v.Address = netip.Addr{} },
		"gate's address": func(v *Invite) { v.Address = v.GateAddress },
		"public network": func(v *Invite) {
			v.GateAddress, v.Address, v.PrefixBits = netip.MustParseAddr("8.8.8.1"), netip.MustParseAddr("8.8.8.7"), 24
		},
		"wider than private": func(v *Invite) {
			v.GateAddress, v.Address, v.PrefixBits = netip.MustParseAddr("172.16.0.1"), netip.MustParseAddr("172.16.0.7"), 11
		},
		"other network": func(v *Invite) { v.Address = netip.MustParseAddr("10.99.1.7") },
		"loopback": func(v *Invite) {
			v.GateAddress, v.Address = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
		},
		"whole internet":    func(v *Invite) { v.PrefixBits = 0 },
		"one address":       func(v *Invite) { v.PrefixBits = 32 },
		"no control port":   func(v *Invite) { v.ControlPort = 0 },
		"no endpoints":      func(v *Invite) { v.Endpoints = nil },
		"five endpoints":    func(v *Invite) { v.Endpoints = []string{"a:1", "b:1", "c:1", "d:1", "e:1"} },
		"control character": func(v *Invite) { v.Endpoints = []string{"vps\x1b.example:1"} },
		"no port":           func(v *Invite) { v.Endpoints = []string{"vps.example"} },
	} {
		v := testInvite()
		change(&v)
		if text, err := v.Encode(); err == nil {
			t.Errorf("%s: encoded as %s", name, text)
		}
	}
}

// forge makes the text of an invite with any payload, as somebody else could.
func forge(payload []byte) string {
	check := sha256.Sum256(payload)
	letters := crockford.EncodeToString(slices.Concat(payload, check[:checkSize]))
	text := inviteTag
	for group := range splitGroups(letters, groupSize-1) {
		text += "-" + group + string(groupCheck(group))
	}
	return text
}

// An invite may come from anybody: what it holds is checked as it is read.
func TestInviteForged(t *testing.T) {
	good, err := testInvite().marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseInvite(forge(good)); err != nil {
		t.Fatal(err)
	}
	head := good[:len(good)-7]
	name := func(s string) []byte { return append([]byte{endpointName, byte(len(s))}, s...) }
	with := func(parts ...[]byte) []byte {
		return slices.Concat(head, slices.Concat(parts...))
	}
	for what, payload := range map[string][]byte{
		"other version":     append([]byte{2}, good[1:]...),
		"no endpoint":       head,
		"unknown endpoint":  with([]byte{'x', 1, 2}),
		"port 0":            with([]byte{4, 198, 51, 100, 1, 0, 0}),
		"multicast":         with([]byte{4, 224, 0, 0, 1, 0, 1}),
		"escape sequence":   with(name("\x1b[2J.example:1")),
		"line break":        with(name("a.example:1\nx:1")),
		"empty name":        with(name("")),
		"no port":           with(name("a.example")),
		"address as a name": with(name("198.51.100.1:1")),
		"long name":         with(name(strings.Repeat("a.", 45) + "b:1")),
		"name cut short":    with([]byte{endpointName, 20, 'a'}),
		"name without size": with([]byte{endpointName}),
		"five endpoints":    with(name("a:1"), name("b:1"), name("c:1"), name("d:1"), name("e:1")),
		"bytes behind":      slices.Concat(good, []byte{0}),
		"prefix of 0 bits":  patch(good, 57, 0),
		"prefix of 33 bits": patch(good, 57, 33),
		"address elsewhere": patch(good, 53, 11),
		"control port 0":    patch(patch(good, 58, 0), 59, 0),
		"nothing":           {},
		"the version alone": {1},
	} {
		if v, err := ParseInvite(forge(payload)); err == nil {
			t.Errorf("%s: accepted as %v", what, v.Endpoints)
		}
	}
}

func patch(b []byte, at int, with byte) []byte {
	c := slices.Clone(b)
	c[at] = with
	return c
}

// Nothing makes reading an invite expensive.
func TestInviteIsCheapToRefuse(t *testing.T) {
	for _, text := range []string{strings.Repeat("A", 1<<24), "GL1" + strings.Repeat("-", 1<<24), "GL1" + strings.Repeat("0", maxInvite-3)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := ParseInvite(text); err == nil {
			t.Error("accepted")
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("refusing %d characters took %d bytes", len(text), used)
		}
	}
}

func TestInviteProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawInvite(t)
		text, err := v.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseInvite(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, got, sameInvite); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		i := rapid.IntRange(4, len(text)-1).Draw(t, "place")
		letter := rapid.SampledFrom([]byte(alphabet)).Draw(t, "letter")
		if text[i] == '-' || text[i] == letter {
			return
		}
		if _, err := ParseInvite(text[:i] + string(letter) + text[i+1:]); err == nil {
			t.Fatalf("%c at %d is not noticed", letter, i)
		}
	})
}

func drawInvite(t *rapid.T) Invite {
	bytesOf := func(n int, label string) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, label) }
	bits := rapid.IntRange(minPrefixBits, maxPrefixBits).Draw(t, "bits")
	host := rapid.Uint32Range(1, 1<<(32-bits)-1).Draw(t, "host")
	endpoint := rapid.OneOf(
		rapid.StringMatching(`[a-z][a-z0-9]{0,9}(\.[a-z]{2,9}){1,3}:[1-9][0-9]{0,3}`),
		rapid.Just("198.51.100.1:55107"),
		rapid.Just("[2001:db8::1]:55107"),
	)
	return Invite{
		Secret:      makeSecret([secretSize]byte(bytesOf(secretSize, "secret"))),
		Gate:        Public(bytesOf(Size, "gate")),
		GateAddress: netip.AddrFrom4([4]byte{10, 0, 0, 0}),
		Address:     netip.AddrFrom4([4]byte{10, byte(host >> 16), byte(host >> 8), byte(host)}),
		PrefixBits:  bits,
		ControlPort: rapid.Uint16Range(1, 65535).Draw(t, "port"),
		Endpoints:   rapid.SliceOfN(endpoint, 1, maxEndpoints).Draw(t, "endpoints"),
	}
}

func FuzzParseInvite(f *testing.F) {
	text := encode(f, testInvite())
	named := testInvite()
	named.Endpoints = []string{"vps.example.org:55107", "[2001:db8::1]:443"}
	for _, s := range []string{"", "GL1", "GL1-", text, strings.ToLower(text), text[:40], text[:len(text)-1], encode(f, named), "gl1-" + strings.Repeat("0", 80), strings.ReplaceAll(text, "-", "\u2013")} {
		f.Add(s, []byte(s))
	}
	payload, err := named.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, payload)
	f.Fuzz(func(t *testing.T, text string, payload []byte) {
		if len(payload) > 500 {
			return
		}
		// Few random texts have a good checksum, so payloads are given one.
		for _, s := range []string{text, forge(payload)} {
			v, err := ParseInvite(s)
			if err != nil {
				continue
			}
			again, err := ParseInvite(encode(t, v))
			if err != nil || !cmp.Equal(v, again, sameInvite) {
				t.Errorf("%q does not come back, %v", s, err)
			}
			for _, e := range v.Endpoints {
				if err := CheckEndpoint(e); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
