//go:build vm

package vmtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// floods has visitors take all connections that they may, on a gate with the
// memory and the settings of a small VPS: one who holds open whatever they
// get, SYNs from everywhere, as many as an emulated machine takes, and then so
// many that all of the visitors' room is taken. New sessions
// of ssh and of the tunnel come through all the same, and other visitors as long
// as there is room.
func (w *world) floods(t *testing.T) {
	limit := w.number(t, "sysctl -n net.netfilter.nf_conntrack_max")
	room := limit - max(1024, limit/8)
	before := w.number(t, gateMemory)
	// sshd itself turns some away once ten have not logged in (sshd_config(5)).
	w.on(t, w.gate, "dmesg -C; echo 'MaxStartups 200' >/etc/ssh/sshd_config.d/flood.conf; systemctl reload ssh")
	one, ssh, other := w.greedy(t, room)

	ended := make(chan float64, 1)
	go func() { ended <- w.spoof(t, 2*room, 1000) }()
	time.Sleep(70 * time.Second) // with the kernel's times, the room would be full by now
	beside := w.othersOf100(t)
	rate := <-ended
	if beside < 95 {
		t.Errorf("beside %.0f forged SYNs a second, %d of 100 other visitors came through", rate, beside)
	}

	// With the kernel's times, it is as if they came six times as fast.
	w.on(t, w.gate, "systemd-run -q --unit=slow sh -c 'while sleep 0.2; do sysctl -qw %s=60 %s=60; done'", plan.HalfOpenTimes[0], plan.HalfOpenTimes[1])
	w.spoof(t, 2*room, 2000)
	w.on(t, w.gate, "systemctl stop slow")
	full := w.number(t, "cat /proc/sys/net/netfilter/nf_conntrack_count")
	later, slowest := w.sshOf100(t)
	w.on(t, w.home, "ip link del gatelodge")
	start := time.Now()
	w.eventually(t, "the tunnel makes a new handshake", func(context.Context) error {
		if got := w.on(t, w.home, statusJSON); !strings.Contains(got, `"connected": true`) {
			return errors.New("it is not connected")
		}
		return nil
	})
	handshake := time.Since(start)
	if later != 100 {
		t.Errorf("beside a flood from everywhere, %d of 100 new ssh connections came through", later)
	}
	if full < room*8/10 || full > limit-512 {
		t.Errorf("%d connections are tracked: the flood should have taken some %d of %d", full, room, limit)
	}
	if got := w.number(t, "dmesg | grep -c 'table full' || true"); got != 0 {
		t.Errorf("the kernel says %d times that its table is full", got)
	}
	if refused := w.number(t, `gatelodge status --json | sed -n 's/.*"full": \([0-9]*\).*/\1/p' | head -1`); refused == 0 {
		t.Error("status does not count what was refused")
	}
	w.figure = fmt.Sprintf("conntrack table of %d, %d for visitors; one got %d, all together %d; new ssh connections %d and %d of 100, the slowest %.1f s; another visitor %d of 100, beside %.0f forged SYNs a second %d; new handshake after %.1f s; daemon %+d KiB",
		limit, room, one, full, ssh, later, slowest.Seconds(), other, rate, beside, handshake.Seconds(), w.number(t, gateMemory)-before)
}

// greedy has one visitor hold all connections that they get. It returns how many
// these are, and how many of 100 new ssh connections and of 100 other visitors
// come through beside that one.
func (w *world) greedy(t *testing.T, room int) (one, ssh, other int) {
	t.Helper()
	held := w.hold(t, room)
	defer func() {
		for _, c := range held {
			check(t, c.Close())
		}
	}()
	one = len(held)
	if one < room/4*9/10 || one > room/4+64 {
		t.Errorf("one visitor got %d connections, not about a quarter of %d", one, room)
	}
	ssh, _ = w.sshOf100(t)
	other = w.othersOf100(t)
	if ssh != 100 || other < 99 {
		t.Errorf("beside one visitor's flood, %d of 100 new ssh connections and %d of 100 other visitors came through", ssh, other)
	}
	return one, ssh, other
}

// gateMemory prints the resident memory of the gate's daemon, in KiB.
const gateMemory = "awk '/^VmRSS/ { print $2 }' /proc/$(systemctl show -P MainPID gatelodge)/status"

func (w *world) number(t *testing.T, script string) int {
	t.Helper()
	out := w.on(t, w.gate, script)
	n, err := strconv.Atoi(out)
	must(t, err)
	return n
}

// visit6 is a try of another visitor: one with another address, that of IPv6.
func (w *world) visit6(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := lab.ProbeTCP(ctx, w.lab.Visitor(), gateAt6(7001))
	return err
}

// sshOf100 makes new connections to the gate's sshd, one after the other, and
// returns how many were answered and how long the slowest took.
func (w *world) sshOf100(t *testing.T) (through int, slowest time.Duration) {
	t.Helper()
	for i := range 100 {
		start := time.Now()
		if err := sshAnswers(t.Context(), w.lab.Visitor(), 22); err != nil {
			t.Logf("ssh connection %d: %v", i, err)
			continue
		}
		through, slowest = through+1, max(slowest, time.Since(start))
	}
	return through, slowest
}

// hold opens connections to a forward and keeps them, until there are no
// more.
func (w *world) hold(t *testing.T, most int) []net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var held []net.Conn
	var wait sync.WaitGroup
	for range 32 {
		wait.Go(func() {
			for failed := 0; failed < 3; {
				c, err := w.open(ctx)
				mu.Lock()
				if err != nil {
					failed++
				} else {
					failed, held = 0, append(held, c)
				}
				enough := len(held) >= most || ctx.Err() != nil
				mu.Unlock()
				if enough {
					return
				}
			}
		})
	}
	wait.Wait()
	return held
}

func (w *world) open(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	return w.lab.Visitor().Dial(ctx, "tcp", gateAt(7000).String())
}

// othersOf100 makes a hundred tries of another visitor, and returns how many
// were served.
func (w *world) othersOf100(t *testing.T) (served int) {
	t.Helper()
	for i := range 100 {
		if err := w.visit6(t.Context()); err != nil {
			t.Logf("visit %d: %v", i, err)
			continue
		}
		served++
	}
	return served
}

// spoof sends that many first packets of TCP connections to a forward, from all
// over the internet, at most so many a second, and returns how many it were.
func (w *world) spoof(t *testing.T, packets, pace int) (rate float64) {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	_, err := w.lab.Visitor().Run(ctx, filepath.Join(w.dir, "payload", serviceName), "spoof", gateAt(443).String(), strconv.Itoa(packets), strconv.Itoa(pace))
	check(t, err)
	return float64(packets) / time.Since(start).Seconds()
}

// spoof sends the packets with as many source addresses, none of which is ours
// (ip(7), raw(7)).
func spoof(to, count, pace string) error {
	at, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	second, err := strconv.Atoi(pace)
	if err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	for i := range n {
		packet := synPacket(netip.AddrFrom4([4]byte{100, 128 + byte(i>>16), byte(i >> 8), byte(i)}), at, uint16(1024+i%60000))
		if err := unix.Sendto(s, packet, 0, &unix.SockaddrInet4{Addr: at.Addr().As4()}); err != nil {
			return err
		}
		if burst := second / 100; i%burst == burst-1 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// synPacket makes the first packet of a connection (RFC 9293).
func synPacket(from netip.Addr, to netip.AddrPort, port uint16) []byte {
	const size = 20
	segment := make([]byte, size)
	binary.BigEndian.PutUint16(segment[0:], port)
	binary.BigEndian.PutUint16(segment[2:], to.Port())
	binary.BigEndian.PutUint32(segment[4:], 1)
	segment[12], segment[13] = 5<<4, 2 // five words of header; SYN
	binary.BigEndian.PutUint16(segment[14:], 64240)
	source, destination := from.As4(), to.Addr().As4()
	pseudo := append(slices.Concat(source[:], destination[:]), 0, unix.IPPROTO_TCP, 0, size)
	binary.BigEndian.PutUint16(segment[16:], checksum(append(pseudo, segment...)))
	return slices.Concat(ipHeader(from, to.Addr(), unix.IPPROTO_TCP, size), segment)
}

// udpPacket makes a datagram of a byte, without a checksum (RFC 768).
func udpPacket(from netip.Addr, to netip.AddrPort, port uint16) []byte {
	const size = 9
	datagram := make([]byte, size)
	binary.BigEndian.PutUint16(datagram[0:], port)
	binary.BigEndian.PutUint16(datagram[2:], to.Port())
	binary.BigEndian.PutUint16(datagram[4:], size)
	return slices.Concat(ipHeader(from, to.Addr(), unix.IPPROTO_UDP, size), datagram)
}

// ipHeader is that of a packet with so many bytes behind it (RFC 791). The
// kernel fills in its checksum.
func ipHeader(from, to netip.Addr, protocol byte, size int) []byte {
	const header = 20
	p := make([]byte, header)
	p[0], p[8], p[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(p[2:], uint16(header+size))
	source, destination := from.As4(), to.As4()
	copy(p[12:], source[:])
	copy(p[16:], destination[:])
	return p
}

// checksum is that of RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
