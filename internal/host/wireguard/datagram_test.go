package wireguard

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

var (
	guestEnd = netip.MustParseAddrPort("10.99.0.7:50000")
	gateEnd  = netip.MustParseAddrPort("10.99.0.1:55107")
)

// A packet is a message again, unless anything of it is otherwise.
func TestMessageInAPacket(t *testing.T) {
	if got, ok := messageIn(packet(gateEnd, guestEnd, []byte("hello")), gateEnd, guestEnd); !ok || string(got) != "hello" {
		t.Fatalf("%q, %t", got, ok)
	}
	padded := append(packet(gateEnd, guestEnd, []byte("hello")), 0, 0, 0) // as WireGuard pads them
	if got, ok := messageIn(padded, gateEnd, guestEnd); !ok || string(got) != "hello" {
		t.Errorf("padded: %q, %t", got, ok)
	}
	for name, spoil := range map[string]func(b []byte) []byte{
		"empty":               func([]byte) []byte { return nil },
		"headers alone, less": func(b []byte) []byte { return b[:headers-1] },
		"cut":                 func(b []byte) []byte { return b[:len(b)-1] },
		"IPv6":                func(b []byte) []byte { b[0] = 6 << 4; return b },
		"short header":        func(b []byte) []byte { b[0] = 4<<4 | 4; return b },
		"long header":         func(b []byte) []byte { b[0] = 4<<4 | 15; return b },
		"TCP":                 func(b []byte) []byte { b[9] = 6; return b },
		"more fragments":      func(b []byte) []byte { b[6] |= 0x20; return b },
		"a later fragment":    func(b []byte) []byte { b[7] = 1; return b },
		"length of nothing":   func(b []byte) []byte { binary.BigEndian.PutUint16(b[2:], 0); return b },
		"UDP's length, short": func(b []byte) []byte { binary.BigEndian.PutUint16(b[24:], headerUDP-1); return b },
		"UDP's length, long":  func(b []byte) []byte { binary.BigEndian.PutUint16(b[24:], 100); return b },
		"another sender":      func(b []byte) []byte { b[15]++; return b },
		"another port":        func(b []byte) []byte { b[21]++; return b },
		"for somebody else":   func(b []byte) []byte { b[19]++; return b },
		"for another port":    func(b []byte) []byte { b[23]++; return b },
	} {
		if got, ok := messageIn(spoil(packet(gateEnd, guestEnd, []byte("hello"))), gateEnd, guestEnd); ok {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzMessageIn(f *testing.F) {
	f.Add(packet(gateEnd, guestEnd, []byte("hello")))
	f.Add(packet(guestEnd, gateEnd, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, ok := messageIn(b, gateEnd, guestEnd); ok && len(got) > len(b)-headers {
			t.Errorf("%d bytes of %d", len(got), len(b))
		}
	})
}
