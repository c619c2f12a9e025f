//go:build vm

package vmtest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/crypto/blake2s"
)

// handshakeFlood begins handshakes with the gate, as many as keep an emulated
// processor busy: what is no packet of WireGuard's, and what only the gate's
// public key is needed for. The tunnel that stands goes on, and a new one is
// made beside them.
func (w *world) handshakeFlood(t *testing.T) {
	const count = 40_000
	key := w.on(t, w.gate, `gatelodge status --json | sed -n '/"tunnel"/,$ s/.*"public_key": "\([^"]*\)".*/\1/p' | head -1`)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	start := time.Now()
	go func() {
		_, err := w.lab.Visitor().Run(ctx, filepath.Join(w.dir, "payload", serviceName), "handshakes", gateAt(55107).String(), key, strconv.Itoa(count))
		ended <- err
	}()
	s := w.newStream(t, 7000)
	time.Sleep(20 * time.Second)
	sent, lost, gap := s.end(t)
	ssh, slowest := w.sshOf100(t)
	w.on(t, w.home, "ip link del gatelodge")
	begin := time.Now()
	w.visitor(t)
	again := time.Since(begin)
	select {
	case <-ended:
		t.Fatalf("the flood ended after %s, before there was a new handshake", time.Since(start))
	default:
	}
	must(t, <-ended)
	rate := count / time.Since(start).Seconds()
	w.figure = fmt.Sprintf("%.0f a second: %d of %d packets lost, longest gap %.1f s; new ssh connections %d of 100, the slowest %.1f s; new handshake after %.1f s", rate, lost, sent, gap.Seconds(), ssh, slowest.Seconds(), again.Seconds())
	if lost*100 > sent {
		t.Errorf("%d of %d packets of the tunnel were lost", lost, sent)
	}
	if ssh != 100 {
		t.Errorf("%d of 100 new ssh connections came through", ssh)
	}
	if again > emulated(10*time.Second) {
		t.Errorf("a new handshake took %s", again)
	}
	w.visitor(t)
}

// handshakes sends first messages of handshakes, evenly: every other one has a
// wrong mac1 and costs the receiver a hash, the others have the right one and
// cost it a multiplication on the curve, or a cookie
// (https://www.wireguard.com/papers/wireguard.pdf, 5.4.2, 5.4.4 and 5.4.7).
func handshakes(to, publicKey, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	key, err := base64.StdEncoding.DecodeString(publicKey)
	if err != nil {
		return err
	}
	hashed := blake2s.Sum256(slices.Concat([]byte("mac1----"), key))
	c, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	const perTurn, turn = 10, 20 * time.Millisecond
	next := time.Now()
	for i := range n {
		message := initiation(hashed[:])
		if i%2 == 0 {
			message[116] ^= 1
		}
		if _, err := c.Write(message); err != nil {
			return err
		}
		if i%perTurn == perTurn-1 {
			next = next.Add(turn)
			time.Sleep(time.Until(next))
		}
	}
	return nil
}

// initiation is the first message of a handshake by somebody whom nobody knows,
// with its mac1 by the hashed public key of the receiver.
func initiation(hashed []byte) []byte {
	const size, mac1 = 148, 116
	m := make([]byte, size)
	_, _ = rand.Read(m[4:mac1])
	m[0] = 1
	mac, err := blake2s.New128(hashed)
	if err != nil {
		panic(err) // the key has the right length
	}
	_, _ = mac.Write(m[:mac1])
	copy(m[mac1:], mac.Sum(nil))
	return m
}
