package wireguard_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/gatelodge/gatelodge/internal/key"
)

// Home's clock goes back: to the gate its handshakes are repetitions of an
// earlier one, until the gate forgets that.
func TestRenewHealsAClockThatWentBack(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	w.gate.serve(t)
	echo(t, w.home.dial(t, "10.99.0.1"))
	w.settle(t)
	w.home.do(t, func() error { return w.home.device.Close() })
	w.shakeHandsAt(t, time.Now().Add(time.Hour))
	w.settle(t)
	before := w.gate.peer(t, w.home)

	w.home.open(t)
	w.home.apply(t)
	time.Sleep(500 * time.Millisecond) // nothing comes that one could wait for
	if got := w.gate.peer(t, w.home).LatestHandshake; got != before.LatestHandshake {
		t.Fatal("a handshake of an earlier time was accepted: the test shows nothing")
	}
	w.gate.renew(t, w.home.key.Public())
	if got := w.gate.peer(t, w.home).Endpoint; got != before.Endpoint {
		t.Errorf("the endpoint is %v, was %v", got, before.Endpoint)
	}
	w.home.do(t, func() error { return w.home.device.Rebind(context.Background()) })
	if took := echo(t, w.home.dial(t, "10.99.0.1")); took > time.Second {
		t.Errorf("the tunnel took %v", took)
	}
}

// What a renewal costs: somebody who has recorded a home's first message can
// repeat it once after each. What is guaranteed all the same: that is all that
// they can do, and it shows as no handshake; a home whose clock is right gets in
// at once; and while it is in, nothing old is accepted.
func TestARecordedMessageAfterARenewal(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	w.gate.serve(t)
	echo(t, w.home.dial(t, "10.99.0.1"))
	recorded := initiation(t, w.home.key, w.gate.key.Public(), time.Now().Add(-time.Hour))
	const soon = 500 * time.Millisecond // nothing comes that one could wait for
	if got := w.says(t, recorded, soon); got != 0 {
		t.Fatalf("while home is connected, an old message is answered with one of type %d", got)
	}
	w.settle(t)
	w.gate.renew(t, w.home.key.Public())
	if got := w.says(t, recorded, patience); got != 2 {
		t.Errorf("after a renewal it is answered with one of type %d: there is less to fear than this test says", got)
	}
	if p := w.gate.peer(t, w.home); !p.LatestHandshake.IsZero() || p.ReceivedBytes == 0 {
		t.Errorf("the gate cannot tell it from a home that is there: %+v", p)
	}
	w.settle(t)
	if got := w.says(t, recorded, soon); got != 0 {
		t.Errorf("the second time it is answered with one of type %d", got)
	}
	w.home.do(t, func() error { return w.home.device.Rebind(context.Background()) })
	c := w.home.dial(t, "10.99.0.1")
	if took := echo(t, c); took > patience {
		t.Errorf("home comes back after %v", took)
	}
	w.settle(t)
	if got := w.says(t, recorded, soon); got != 0 {
		t.Errorf("once home is back it is answered with one of type %d", got)
	}
	echo(t, c)
}

// The session ends, and the side that has something to send begins another: the
// gate too, as it keeps the endpoint that it has learned.
func TestRenewKeepsTheEndpoint(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	w.gate.serve(t)
	echo(t, w.home.dial(t, "10.99.0.1"))
	before := w.gate.peer(t, w.home)
	w.settle(t)
	w.gate.renew(t, w.home.key.Public())
	after := w.gate.peer(t, w.home)
	if !after.LatestHandshake.IsZero() || after.ReceivedBytes != 0 {
		t.Errorf("the session lives on: %+v", after)
	}
	if after.Endpoint != before.Endpoint || len(after.AllowedIPs) != len(before.AllowedIPs) {
		t.Errorf("the peer is %+v, was %+v", after, before)
	}
	w.gate.do(t, func() error {
		c, err := net.Dial("udp", "10.99.0.2:9")
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("anybody there?"))
		return errors.Join(err, c.Close())
	})
	eventually(t, "the gate begins a session", func() bool { return !w.gate.peer(t, w.home).LatestHandshake.IsZero() })
	echo(t, w.home.dial(t, "10.99.0.1"))
}

func TestRenewSparesOthers(t *testing.T) {
	w := newWorld(t)
	w.gate.renew(t, w.home.key.Public()) // before there is a device
	w.up(t)
	w.gate.serve(t)
	c := w.home.dial(t, "10.99.0.1")
	echo(t, c)
	before := w.gate.peer(t, w.home)
	w.gate.renew(t, newKey(t).Public())
	echo(t, c)
	if got := w.gate.peer(t, w.home); got.LatestHandshake != before.LatestHandshake {
		t.Error("the renewal of an unknown peer ended another one's session")
	}
	if n := len(w.gate.observe(t).Peers); n != 1 {
		t.Errorf("the device has %d peers", n)
	}
}

func (e *end) renew(t *testing.T, peers ...key.Public) {
	t.Helper()
	e.do(t, func() error { return e.device.Renew(context.Background(), e.want, peers) })
}

// shakeHandsAt begins a handshake with the gate in home's name, at a time of
// its own, and waits for the gate's answer.
func (w *world) shakeHandsAt(t *testing.T, at time.Time) {
	t.Helper()
	if got := w.says(t, initiation(t, w.home.key, w.gate.key.Public(), at), patience); got != 2 {
		t.Fatalf("the gate answers with a message of type %d", got)
	}
}

// says sends a message to the gate from a port of its own, and returns the type
// of the answer, or 0 if there is none for so long.
func (w *world) says(t *testing.T, message []byte, within time.Duration) byte {
	t.Helper()
	answer := make([]byte, 1500)
	w.home.do(t, func() error {
		c, err := net.Dial("udp", gateEndpoint.String())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(message); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(within))
		if _, err = c.Read(answer); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	})
	return answer[0]
}

// initiation is the first message of WireGuard's handshake, after section 5.4.2
// of its paper (https://www.wireguard.com/papers/wireguard.pdf).
func initiation(t *testing.T, from key.Private, to key.Public, at time.Time) []byte {
	t.Helper()
	static, ephemeral := privateKey(t, from.Reveal()), newPrivateKey(t)
	peer, err := ecdh.X25519().NewPublicKey(to[:])
	if err != nil {
		t.Fatal(err)
	}
	chain := sum([]byte("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"))
	transcript := sum(chain, []byte("WireGuard v1 zx2c4 Jason@zx2c4.com"))
	transcript = sum(transcript, to[:])

	message := []byte{1, 0, 0, 0, 7, 7, 7, 7} // type, index of the sender
	message = append(message, ephemeral.PublicKey().Bytes()...)
	transcript = sum(transcript, ephemeral.PublicKey().Bytes())
	chain, _ = derive(chain, ephemeral.PublicKey().Bytes())
	for _, part := range []struct {
		secret *ecdh.PrivateKey
		text   []byte
	}{
		{ephemeral, static.PublicKey().Bytes()},
		{static, tai64n(at)},
	} {
		shared, err := part.secret.ECDH(peer)
		if err != nil {
			t.Fatal(err)
		}
		var sealing []byte
		chain, sealing = derive(chain, shared)
		sealed := seal(t, sealing, part.text, transcript)
		transcript = sum(transcript, sealed)
		message = append(message, sealed...)
	}
	mac, err := blake2s.New128(sum([]byte("mac1----"), to[:]))
	if err != nil {
		t.Fatal(err)
	}
	mac.Write(message)
	return append(mac.Sum(message), make([]byte, 16)...)
}

// tai64n is a time as WireGuard sends it (https://cr.yp.to/libtai/tai64.html).
func tai64n(at time.Time) []byte {
	seconds := binary.BigEndian.AppendUint64(nil, 1<<62+10+uint64(at.Unix()))
	return binary.BigEndian.AppendUint32(seconds, uint32(at.Nanosecond()))
}

func sum(parts ...[]byte) []byte {
	all := blake2s.Sum256(bytes.Join(parts, nil))
	return all[:]
}

func derive(chain, input []byte) (next, secret []byte) {
	first := hash256(chain, input)
	next = hash256(first, []byte{1})
	return next, hash256(first, next, []byte{2})
}

func hash256(secret []byte, parts ...[]byte) []byte {
	h := hmac.New(func() hash.Hash {
		plain, err := blake2s.New256(nil)
		if err != nil {
			panic(err) // only of a key that is too long
		}
		return plain
	}, secret)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func seal(t *testing.T, secret, text, transcript []byte) []byte {
	t.Helper()
	cipher, err := chacha20poly1305.New(secret)
	if err != nil {
		t.Fatal(err)
	}
	return cipher.Seal(nil, make([]byte, cipher.NonceSize()), text, transcript)
}

func privateKey(t *testing.T, secret [key.Size]byte) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(secret[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newPrivateKey(t *testing.T) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
