package key

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"unique"
)

// secretSize is the size of an invite's secret in bytes: 128 bits.
const secretSize = 16

// Secret is what an invite is worth: anybody who knows it may enrol one home,
// once. It is the seed of the one-time WireGuard key.
//
// Its bytes stand behind a handle, as those of Private do.
type Secret struct {
	handle unique.Handle[string]
}

func makeSecret(b [secretSize]byte) Secret {
	if b == [secretSize]byte{} {
		return Secret{}
	}
	return Secret{unique.Make(string(b[:]))}
}

// NewSecret makes a secret from the system's randomness.
func NewSecret() (Secret, error) {
	var b [secretSize]byte
	if _, err := rand.Read(b[:]); err != nil {
		return Secret{}, fmt.Errorf("cannot make an invite: %w", err)
	}
	return makeSecret(b), nil
}

// Key derives the one-time WireGuard key (HKDF-SHA256, RFC 5869).
func (s Secret) Key() Private {
	seed := s.Reveal()
	b, err := hkdf.Key(sha256.New, seed[:], nil, "gatelodge invite: one-time key", Size)
	if err != nil {
		panic("key: HKDF refused 32 bytes: " + err.Error())
	}
	return makePrivate(clamped([Size]byte(b)))
}

// Hash returns what the gate keeps of an invite on disk. It tells nothing of
// the secret, nor of the one-time key.
func (s Secret) Hash() SecretHash {
	b := s.Reveal()
	return sha256.Sum256(b[:])
}

// Reveal returns the secret itself, for the invite's text and for the message
// that redeems it inside the tunnel.
func (s Secret) Reveal() [secretSize]byte {
	if s == (Secret{}) {
		return [secretSize]byte{}
	}
	return [secretSize]byte([]byte(s.handle.Value()))
}

// RevealText returns the secret itself in hexadecimal.
func (s Secret) RevealText() string {
	b := s.Reveal()
	return hex.EncodeToString(b[:])
}

// ParseSecret reads what RevealText wrote.
func ParseSecret(text string) (Secret, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != secretSize {
		return Secret{}, fmt.Errorf("not an invite's secret: expected %d hexadecimal digits", 2*secretSize)
	}
	return makeSecret([secretSize]byte(b)), nil
}

// String implements fmt.Stringer without showing the secret.
func (s Secret) String() string { return hidden }

// GoString implements fmt.GoStringer without showing the secret.
func (s Secret) GoString() string { return hidden }

// Format implements fmt.Formatter, so that no verb shows the secret.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue implements slog.LogValuer without showing the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler without showing the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// SecretHash is the SHA-256 of a Secret.
type SecretHash [sha256.Size]byte

// Matches reports, in constant time, whether it is the hash of s.
func (h SecretHash) Matches(s Secret) bool {
	got := s.Hash()
	return subtle.ConstantTimeCompare(h[:], got[:]) == 1
}

// MarshalText implements encoding.TextMarshaler.
func (h SecretHash) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h[:])), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *SecretHash) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(h) {
		return fmt.Errorf("%.80q is not a SHA-256 in hexadecimal", text)
	}
	copy(h[:], b)
	return nil
}
