package key

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != Size {
		t.Fatalf("bad vector %q", s)
	}
	return b
}

// The key pairs of RFC 7748, section 6.1.
func TestPublicOfRFC7748(t *testing.T) {
	vectors := []struct{ name, private, public string }{
		{"Alice", "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"},
		{"Bob", "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"},
	}
	for _, v := range vectors {
		p, err := ParsePrivate(base64.StdEncoding.EncodeToString(fromHex(t, v.private)))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Public(); got != Public(fromHex(t, v.public)) {
			t.Errorf("%s: got %s, want %s", v.name, got.Hex(), v.public)
		}
	}
}

func TestPrivateRoundTrip(t *testing.T) {
	p, err := NewPrivate()
	if err != nil {
		t.Fatal(err)
	}
	q, err := ParsePrivate(p.RevealText())
	if err != nil || q != p || q.Reveal() != p.Reveal() || p.IsZero() || !(Private{}).IsZero() {
		t.Errorf("the key did not come back: %v", err)
	}
	if b := p.Reveal(); b[0]&7 != 0 || b[31]&0xc0 != 0x40 {
		t.Error("a new key is not clamped")
	}
	other, err := NewPrivate()
	if err != nil || other == p {
		t.Errorf("two new keys are the same, or %v", err)
	}
}

func TestPublicText(t *testing.T) {
	p := testPrivate().Public()
	q, err := ParsePublic(p.String())
	if err != nil || q != p || p.IsZero() || !(Public{}).IsZero() {
		t.Errorf("the key did not come back: %v", err)
	}
	var r Public
	if text, err := p.MarshalText(); err != nil || r.UnmarshalText(text) != nil || r != p {
		t.Error("the key did not come back as text")
	}
	if !strings.HasPrefix(p.String(), strings.TrimSuffix(p.Short(), "…")) || len(p.Hex()) != 2*Size {
		t.Errorf("short %s, hex %s", p.Short(), p.Hex())
	}
}

func TestDamagedKeys(t *testing.T) {
	good := testPrivate().RevealText()
	for _, s := range []string{"", good[:43], good + "=", good[:42] + "B=", "!" + good[1:], good[:20] + "\n" + good[20:], good[:43] + "\n", strings.Repeat("A", 10_000)} {
		if _, err := ParsePrivate(s); err == nil {
			t.Errorf("%.60q was accepted", s)
		} else if len(s) > 8 && strings.Contains(err.Error(), s[:8]) {
			t.Errorf("the error shows the key: %v", err)
		}
		if _, err := ParsePublic(s); err == nil {
			t.Errorf("%.60q was accepted", s)
		} else if len(err.Error()) > 200 {
			t.Errorf("an error of %d characters", len(err.Error()))
		}
	}
}

// testPrivate is a key whose bytes are easy to find in any text.
func testPrivate() Private {
	return makePrivate(clamped([Size]byte(bytes.Repeat([]byte{0xab}, Size))))
}

func testSecret() Secret { return makeSecret([secretSize]byte(bytes.Repeat([]byte{0xab}, secretSize))) }

// holder has secrets the ways that types of other packages have them.
type holder struct {
	Private Private
	Secret  Secret
	Invite  Invite
	Pointer *Private
	List    []Private
	Map     map[string]Secret
	Any     any
	private Private // of which fmt cannot call the methods
}

func newHolder() holder {
	p := testPrivate()
	return holder{p, testSecret(), testInvite(), &p, []Private{p}, map[string]Secret{"a": testSecret()}, p, p}
}

// leaks reports whether a text shows bytes of the test secrets in any of the
// usual spellings.
func leaks(text string) bool {
	if strings.Contains(text, "\xab\xab\xab") {
		return true
	}
	text = strings.ToLower(text)
	for _, shown := range []string{
		"abababab", "ab ab ab", "0xab, 0xab", "0xab 0xab", "171 171", "+171 +171", "171  171", "253 253", "q6urq6ur",
		"10101011 10101011", "\u00ab\u00ab", `\xab\xab`, "««",
	} {
		if strings.Contains(text, shown) {
			return true
		}
	}
	return false
}

func TestSecretsDoNotPrint(t *testing.T) {
	h := newHolder()
	secrets := []any{h, &h, h.Private, &h.Private, h.Secret, &h.Secret, h.Invite, h.List, h.Map, h.Any}
	checked := 0
	for _, verb := range "vsqxXdobcUeEfFgGtTpw" {
		for _, flags := range []string{"", "+", "#", " ", "0", "-60", "10.3", "# "} {
			format := "%" + flags + string(verb)
			for _, s := range secrets {
				if verb == 'p' || verb == 'T' {
					continue // an address and a type are no secrets
				}
				checked++
				if got := fmt.Sprintf(format, s); leaks(got) {
					t.Errorf("%s of %T shows %.200q", format, s, got)
				}
			}
		}
	}
	if checked < 1000 {
		t.Errorf("only %d formats", checked)
	}
	if got := fmt.Sprint(h.Private, h.Secret, h.Private.GoString(), h.Secret.GoString(), h.Private.String(), h.Secret.String()); leaks(got) || !strings.Contains(got, hidden) {
		t.Errorf("shows %q", got)
	}
}

func TestSecretsDoNotMarshal(t *testing.T) {
	h := newHolder()
	j, err := json.Marshal(h)
	if err != nil || leaks(string(j)) || !strings.Contains(string(j), hidden) {
		t.Errorf("JSON %s, %v", j, err)
	}
	h.Any = nil // TOML has no place for it
	tm, err := toml.Marshal(h)
	if err != nil || leaks(string(tm)) || !strings.Contains(string(tm), hidden) {
		t.Errorf("TOML %s, %v", tm, err)
	}
}

func TestSecretsDoNotLog(t *testing.T) {
	h := newHolder()
	var b bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		log := slog.New(handler)
		log.Info("one", "private", h.Private, "secret", h.Secret, "pointer", h.Pointer)
		log.Info("all", "holder", h, "invite", h.Invite, slog.Group("group", "list", h.List))
	}
	if got := b.String(); leaks(got) || strings.Count(got, hidden) < 8 {
		t.Errorf("the log has %s", got)
	}
}

// The test for leaks must find one.
func TestLeaksAreFound(t *testing.T) {
	p := testPrivate().Reveal()
	for _, text := range []string{fmt.Sprint(p), fmt.Sprintf("%x", p), fmt.Sprintf("%#v", p), fmt.Sprintf("%o", p), fmt.Sprintf("%+d", p), fmt.Sprintf("%b", p), fmt.Sprintf("%q", p[:]), testPrivate().RevealText(), string(p[:]), testSecret().RevealText()} {
		if !leaks(text) {
			t.Errorf("not found in %q", text)
		}
	}
}
