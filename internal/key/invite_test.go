package key

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

func TestSecret(t *testing.T) {
	s, err := NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	same, err := ParseSecret(s.RevealText())
	if err != nil || same != s || same.Reveal() != s.Reveal() {
		t.Errorf("the secret did not come back: %v", err)
	}
	other, err := NewSecret()
	if err != nil || other == s || other.Key() == s.Key() {
		t.Errorf("two new secrets are the same, or %v", err)
	}
	if s.Key() != same.Key() || s.Key().IsZero() {
		t.Error("one secret makes two keys, or none")
	}
	if !s.Hash().Matches(s) || s.Hash().Matches(other) {
		t.Error("a hash is of the wrong secret")
	}
}

// The key of a secret is for ever: both sides derive it, and not always with
// the same release.
func TestSecretKeyIsStable(t *testing.T) {
	// HKDF-SHA256 by another implementation, clamped.
	const want = "385ace1a529e23635948e319088accf207ad55f665d02f523949df8602ae0e6c"
	if got := testSecret().Key().Reveal(); hex.EncodeToString(got[:]) != want {
		t.Errorf("the key is %x, it was %s", got, want)
	}
}

func TestDamagedSecrets(t *testing.T) {
	for _, s := range []string{"", "ab", strings.Repeat("a", 31), strings.Repeat("a", 33), strings.Repeat("g", 32), strings.Repeat("a", 1<<20)} {
		if _, err := ParseSecret(s); err == nil {
			t.Errorf("%.40q was accepted", s)
		} else if len(err.Error()) > 100 {
			t.Errorf("an error of %d characters", len(err.Error()))
		}
	}
}

func TestSecretHashText(t *testing.T) {
	h := testSecret().Hash()
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var back SecretHash
	if err := json.Unmarshal(text, &back); err != nil || back != h {
		t.Errorf("%s did not come back: %v", text, err)
	}
	for _, s := range []string{`""`, `"ab"`, `"zz"`, `1`} {
		if err := json.Unmarshal([]byte(s), &back); err == nil {
			t.Errorf("%s was accepted", s)
		}
	}
}
