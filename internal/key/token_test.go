package key

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func testInvite() Invite {
	return Invite{
		Secret:      testSecret(),
		Gate:        testPrivate().Public(),
		GateAddress: netip.MustParseAddr("10.99.0.1"),
		Address:     netip.MustParseAddr("10.99.0.7"),
		PrefixBits:  24,
		ControlPort: 55108,
		Endpoints:   []string{"198.51.100.1:55107"},
	}
}

// sameInvite compares invites with what they hide.
var sameInvite = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b Secret) bool { return a == b }),
}

func encode(t testing.TB, v Invite) string {
	t.Helper()
	text, err := v.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestInviteRoundTrip(t *testing.T) {
	for _, endpoints := range [][]string{
		{"198.51.100.1:55107"},
		{"[2001:db8::1]:55107"},
		{"vps.example.org:55107", "198.51.100.1:1", "[2001:db8::1]:65535", strings.Repeat("a.", 36) + "org:443"},
	} {
		v := testInvite()
		v.Endpoints = endpoints
		got, err := ParseInvite(encode(t, v))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, got, sameInvite); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// An invite for one IPv4 endpoint stays short enough to be read out, and any
// invite is of the characters that a QR code packs best.
func TestInviteLength(t *testing.T) {
	text := encode(t, testInvite())
	if len(text) != 153 {
		t.Errorf("an invite has %d characters: %s", len(text), text)
	}
	const qr = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
	if rest := strings.Trim(text, qr); rest != "" {
		t.Errorf("%q is not alphanumeric", rest)
	}
	longest := testInvite()
	longest.Endpoints = nil
	for i := range maxEndpoints {
		longest.Endpoints = append(longest.Endpoints, strings.Repeat("a.", 37)+fmt.Sprintf("b:%d", 1000+i))
	}
	if n := len(encode(t, longest)); n > maxInvite {
		t.Errorf("the longest invite has %d characters, more than can be read", n)
	}
}

func TestInviteForgives(t *testing.T) {
	text := encode(t, testInvite())
	for name, variant := range map[string]string{
		"lower case":       strings.ToLower(text),
		"white space":      " \t" + text + "\r\n",
		"line breaks":      text[:50] + "\n    " + text[50:90] + "\r\n" + text[90:],
		"no hyphens":       strings.ReplaceAll(text, "-", ""),
		"spaces":           strings.ReplaceAll(text, "-", "  "),
		"other dashes":     strings.ReplaceAll(text, "-", "–"),
		"no-break spaces":  strings.ReplaceAll(text, "-", "\u00a0"),
		"invisible":        "\ufeff" + strings.ReplaceAll(text, "-", "-\u200b"),
		"O for 0":          "GL1" + strings.ReplaceAll(text[3:], "0", "O"),
		"I for 1":          strings.ReplaceAll(text, "1", "I"),
		"l for 1":          strings.ReplaceAll(text, "1", "l"),
		"hyphens anywhere": "G-L-1" + strings.Join(strings.Split(text[3:], ""), "-"),
	} {
		if got, err := ParseInvite(variant); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(testInvite(), got, sameInvite); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// groupOf returns the number that an error gives to the group of the letter
// at index i of an invite.
func groupOf(i int) int { return i / (groupSize + 1) }

func wantGroup(t *testing.T, what, text string, group int) {
	t.Helper()
	_, err := ParseInvite(text)
	if err == nil {
		t.Errorf("%s is not noticed", what)
		return
	}
	if want := fmt.Sprintf("in group %d after GL1", group); !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v; want %q", what, err, want)
	}
}

// Every wrong letter is noticed, and its group named.
func TestInviteOneLetterWrong(t *testing.T) {
	text := encode(t, testInvite())
	for i := len(inviteTag) + 1; i < len(text); i++ {
		if text[i] == '-' {
			continue
		}
		for _, r := range alphabet + "U?*é" {
			if byte(r) == text[i] && r < 0x80 {
				continue
			}
			wantGroup(t, fmt.Sprintf("%c at %d", r, i), text[:i]+string(r)+text[i+1:], groupOf(i-len(inviteTag)-1)+1)
		}
	}
}

// Every swap of two letters of a group is noticed, and the group named; so is
// every swap across the border of two.
func TestInviteSwappedLetters(t *testing.T) {
	text := encode(t, testInvite())
	swaps := 0
	for i := len(inviteTag) + 1; i < len(text); i++ {
		for j := i + 1; j < len(text) && j <= i+groupSize; j++ {
			if text[i] == text[j] || text[i] == '-' || text[j] == '-' {
				continue
			}
			swaps++
			b := []byte(text)
			b[i], b[j] = b[j], b[i]
			wantGroup(t, fmt.Sprintf("swap of %d and %d", i, j), string(b), groupOf(i-len(inviteTag)-1)+1)
		}
	}
	if swaps < 500 {
		t.Errorf("only %d swaps", swaps)
	}
}

// A letter left out or doubled is noticed, and its group named as long as the
// hyphens are there.
func TestInviteLetterMissingOrDoubled(t *testing.T) {
	text := encode(t, testInvite())
	last := strings.LastIndexByte(text, '-')
	for i := len(inviteTag) + 1; i < len(text); i++ {
		if text[i] == '-' {
			continue
		}
		missing, doubled := text[:i]+text[i+1:], text[:i]+text[i:i+1]+text[i:]
		if i < last {
			wantGroup(t, fmt.Sprintf("letter %d missing", i), missing, groupOf(i-len(inviteTag)-1)+1)
			wantGroup(t, fmt.Sprintf("letter %d doubled", i), doubled, groupOf(i-len(inviteTag)-1)+1)
			continue
		}
		for _, variant := range []string{missing, doubled} {
			if _, err := ParseInvite(variant); err == nil {
				t.Errorf("a change of letter %d is not noticed", i)
			}
		}
	}
}

func TestInviteCut(t *testing.T) {
	text := encode(t, testInvite())
	for i := range len(text) {
		if _, err := ParseInvite(text[:i]); err == nil {
			t.Errorf("cut after %d characters is not noticed", i)
		}
		if i > 0 {
			if _, err := ParseInvite(text[i:]); err == nil {
				t.Errorf("cut before character %d is not noticed", i)
			}
		}
	}
	groups := strings.Split(text, "-")
	for i := 1; i < len(groups); i++ {
		without := strings.Join(slices.Concat(groups[:i], groups[i+1:]), "-")
		if _, err := ParseInvite(without); err == nil {
			t.Errorf("group %d missing is not noticed", i)
		}
	}
}

func TestInviteErrorsKeepTheSecret(t *testing.T) {
	text := encode(t, testInvite())
	for _, variant := range []string{text[:len(text)-1], text[4:], strings.Replace(text, "-", "-X", 1), text + text, strings.Repeat(text, 20)} {
		_, err := ParseInvite(variant)
		if err == nil {
			t.Errorf("%q was accepted", variant)
			continue
		}
		for i := 4; i+groupSize < len(text); i++ {
			if strings.Contains(err.Error(), text[i:i+groupSize]) {
				t.Fatalf("the error repeats the invite: %v", err)
			}
		}
	}
}

func TestInviteEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Invite){
		"IPv6 gate":      func(v *Invite) { v.GateAddress = netip.MustParseAddr("fd99::1") },
		"no address":     func(v *Invite) { v.Address = netip.Addr{} },
		"gate's address": func(v *Invite) { v.Address = v.GateAddress },
		"other network":  func(v *Invite) { v.Address = netip.MustParseAddr("10.99.1.7") },
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
