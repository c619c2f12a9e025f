package store

import "github.com/gatelodge/gatelodge/internal/key"

// PrivateKey is a private key in a stored value. It is the one type whose
// JSON shows the key; everywhere else it hides as key.Private does. Values
// with a key hold it like this, and go nowhere but into Save:
//
//	type gateFile struct {
//		PrivateKey store.PrivateKey
//		Registry   registry.State
//	}
type PrivateKey struct{ key.Private }

// MarshalText implements encoding.TextMarshaler for Save.
func (k PrivateKey) MarshalText() ([]byte, error) {
	if k.IsZero() {
		return nil, nil
	}
	return []byte(k.RevealText()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler for Load.
func (k *PrivateKey) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = PrivateKey{}
		return nil
	}
	p, err := key.ParsePrivate(string(text))
	if err == nil {
		*k = PrivateKey{p}
	}
	return err
}
