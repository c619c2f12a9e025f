// Package key holds WireGuard keys and invites.
//
// Private and public keys are different types, and everything secret refuses
// to print itself: it shows as "(private)" in text, logs, JSON and TOML. The
// one method that gives the bytes is named Reveal.
package key

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"unique"
)

// Size is the number of bytes of a Curve25519 key.
const Size = 32

// hidden is what a secret shows of itself.
const hidden = "(private)"

// Private is a WireGuard private key (Curve25519, RFC 7748).
//
// Its bytes stand behind a handle, which compares like the bytes. Package fmt
// never follows a pointer to a string, so that the key does not show even
// where fmt goes round our methods: for a field that is not exported, and for
// a misplaced %w.
type Private struct{ handle unique.Handle[string] }

// makePrivate gives every key one form, the unset key included.
func makePrivate(b [Size]byte) Private {
	if b == [Size]byte{} {
		return Private{}
	}
	return Private{unique.Make(string(b[:]))}
}

// clamped makes a valid Curve25519 scalar (RFC 7748, section 5).
func clamped(b [Size]byte) [Size]byte {
	b[0] &= 248
	b[31] = b[31]&127 | 64
	return b
}

// NewPrivate makes a key from the system's randomness.
func NewPrivate() (Private, error) {
	var b [Size]byte
	if _, err := rand.Read(b[:]); err != nil {
		return Private{}, fmt.Errorf("cannot make a private key: %w", err)
	}
	return makePrivate(clamped(b)), nil
}

// ParsePrivate reads the base64 form that wg(8) uses.
func ParsePrivate(s string) (Private, error) {
	b, err := decode(s)
	if err != nil {
		// The text is a secret, even if it is a damaged one: it is not shown.
		return Private{}, fmt.Errorf("not a private key: %w", err)
	}
	return makePrivate(b), nil
}

// IsZero reports whether the key is unset.
func (p Private) IsZero() bool { return p == Private{} }

// Public returns the public half.
func (p Private) Public() Public {
	b := p.Reveal()
	k, err := ecdh.X25519().NewPrivateKey(b[:])
	if err != nil {
		panic("key: X25519 refused 32 bytes: " + err.Error())
	}
	return Public(k.PublicKey().Bytes())
}

// Reveal returns the key itself. The caller answers for where it goes:
// to the WireGuard device, or to a file that only the owner can read.
func (p Private) Reveal() [Size]byte {
	if p.IsZero() {
		return [Size]byte{}
	}
	return [Size]byte([]byte(p.handle.Value()))
}

// RevealText returns the key itself in wg(8)'s base64 form.
func (p Private) RevealText() string {
	b := p.Reveal()
	return base64.StdEncoding.EncodeToString(b[:])
}

// String implements fmt.Stringer without showing the key.
func (p Private) String() string { return hidden }

// GoString implements fmt.GoStringer without showing the key.
func (p Private) GoString() string { return hidden }

// Format implements fmt.Formatter, so that no verb shows the key.
func (p Private) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue implements slog.LogValuer without showing the key.
func (p Private) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler without showing the key.
func (p Private) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Public is a WireGuard public key; it is also how a peer is identified.
type Public [Size]byte

// ParsePublic reads the base64 form that wg(8) uses.
func ParsePublic(s string) (Public, error) {
	b, err := decode(s)
	if err != nil {
		return Public{}, fmt.Errorf("%.60q is not a public key: %w", s, err)
	}
	return b, nil
}

// IsZero reports whether the key is unset.
func (p Public) IsZero() bool { return p == Public{} }

// String returns wg(8)'s base64 form.
func (p Public) String() string { return base64.StdEncoding.EncodeToString(p[:]) }

// Short returns the first characters, enough to tell peers apart by eye.
func (p Public) Short() string { return p.String()[:8] + "…" }

// Hex returns the form of the WireGuard configuration protocol
// (https://www.wireguard.com/xplatform/).
func (p Public) Hex() string { return hex.EncodeToString(p[:]) }

// MarshalText implements encoding.TextMarshaler.
func (p Public) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Public) UnmarshalText(text []byte) error {
	q, err := ParsePublic(string(text))
	if err == nil {
		*p = q
	}
	return err
}

var errKey = errors.New("expected 44 characters of base64")

func decode(s string) ([Size]byte, error) {
	var key [Size]byte
	// The decoder skips line breaks, so the length of the text counts too.
	if len(s) != base64.StdEncoding.EncodedLen(Size) {
		return key, errKey
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != Size {
		return key, errKey
	}
	copy(key[:], b)
	return key, nil
}
