//go:build vm

package vmtest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/machine"
)

// latePort is that of a UDP service that answers when a visitor is forgotten.
const latePort = 7003

// lateBy is longer than home's kernel and our table remember a UDP visitor of
// whom one packet came.
const lateBy = 40 * time.Second

// pace is how many packets a flood sends in a second: what an emulated processor
// can take.
const pace = 1000

// floodOfUDP is one address that begins UDP flows, each from a port of its own,
// as fast as an emulated machine takes them.
func (w *world) floodOfUDP(t *testing.T) {
	w.on(t, w.home, "gatelodge expose %d/udp --name late", latePort)
	w.watchLine(t)
	f := w.flood(t, w.lab.Visitor(), filepath.Join(w.dir, "payload", serviceName), "udp", gateAt(latePort).String(), "1")
	before := w.counted(t, w.gate, "full")
	w.eventually(t, "the flood has its share, and no more", func(context.Context) error {
		if w.counted(t, w.gate, "full") == before {
			return fmt.Errorf("nothing is turned away")
		}
		return nil
	})
	got := w.besideFlood(t)
	rate := f.end(t)
	refused := w.counted(t, w.gate, "full") - before
	w.figure = fmt.Sprintf("one address, %.0f flows a second, %d turned away; beside it %s", rate, refused, got)
	w.noLeak(t)
}

// fullSet has visitors from everywhere come to a service that answers too late,
// until home can note no further one of them. None of its answers leaves by
// home's own line, and those whom home knows no place for are served.
func (w *world) fullSet(t *testing.T) {
	w.watchLine(t)
	before := w.counted(t, w.home, "leaked")
	f := w.flood(t, w.lab.Visitor(), filepath.Join(w.dir, "payload", serviceName), "udp", gateAt(latePort).String(), strconv.Itoa(1<<22))
	defer f.stop()
	start := time.Now()
	for !strings.Contains(w.on(t, w.home, "nft list set inet gatelodge guarded"), strconv.Itoa(latePort)) {
		if time.Since(start) > 6*time.Minute {
			t.Fatal("home still notes every visitor")
		}
		time.Sleep(time.Second)
	}
	took := time.Since(start)
	got := w.besideFlood(t)
	rate := f.end(t)
	time.Sleep(lateBy) // until the last of them has been answered
	dropped := w.counted(t, w.home, "leaked") - before
	w.figure = fmt.Sprintf("%.0f addresses a second, the set full after %.0f s; beside it %s; %d late answers dropped, none seen on home's line", rate, took.Seconds(), got, dropped)
	if dropped == 0 {
		t.Error("no late answer is counted")
	}
	w.noLeak(t)
}

// floodByHome is a home that begins flows to the gate, as the user who may.
func (w *world) floodByHome(t *testing.T) {
	w.watchLine(t)
	const own = `ip -4 -o addr show gatelodge | awk '{ sub("/.*", "", $4); print $4 }'`
	gate, home := w.on(t, w.gate, own), w.on(t, w.home, own)
	port := w.on(t, w.gate, `nft list table inet gatelodge | sed -n 's/.*tcp dport \([0-9]*\) meta mark set.*/\1/p' | head -1`)
	at := net.JoinHostPort(gate, port)
	entries, refused := w.number(t, tracked), w.counted(t, w.gate, "tunnel")
	w.on(t, w.home, "systemd-run -q --unit=asking -p User=gatelodge /payload/services ask %s %s", at, home)
	w.eventually(t, "the home has its share, and no more", func(context.Context) error {
		if w.counted(t, w.gate, "tunnel") == refused {
			return fmt.Errorf("nothing is refused")
		}
		return nil
	})
	got := w.besideFlood(t)
	more := w.number(t, tracked) - entries
	w.on(t, w.home, "ip link del gatelodge")
	again := w.visitor(t)
	w.on(t, w.home, "systemctl is-active asking && systemctl stop asking")
	refused = w.counted(t, w.gate, "tunnel") - refused
	w.figure = fmt.Sprintf("%d packets refused, %+d connections at the gate; beside it %s; new handshake after %.1f s", refused, more, got, again.Seconds())
	// A share of each protocol, and what the visitors and ssh beside it leave.
	if more > 2*128+600 {
		t.Errorf("a home has made %d connections more at the gate", more)
	}
	w.noLeak(t)
}

const tracked = "cat /proc/sys/net/netfilter/nf_conntrack_count"

// besideFlood makes a hundred tries of each kind beside a flood and says how
// many came through.
func (w *world) besideFlood(t *testing.T) string {
	t.Helper()
	c := w.connect(t, 7000)
	tcp := w.othersOf100(t)
	udp := 0
	for i := range 100 {
		a, err := lab.ProbeUDP(t.Context(), w.lab.Visitor(), gateAt(7000))
		if err == nil {
			err = seenAs(w.lab.Visitor(), gateAt(7000), a)
		}
		if err != nil {
			t.Logf("UDP visit %d: %v", i, err)
			continue
		}
		udp++
	}
	ssh, slowest := w.sshOf100(t)
	c.alive(t)
	if tcp < 95 || udp < 95 || ssh != 100 {
		t.Errorf("beside it, %d of 100 other visitors came by TCP and %d by UDP, and %d of 100 new ssh connections", tcp, udp, ssh)
	}
	return fmt.Sprintf("other visitors %d of 100 by TCP and %d by UDP, new ssh connections %d of 100, the slowest %.1f s", tcp, udp, ssh, slowest.Seconds())
}

// counted is one of the counters that status shows.
func (w *world) counted(t *testing.T, m *machine.Machine, name string) int {
	t.Helper()
	said := w.on(t, m, statusJSON)
	match := regexp.MustCompile(`"` + name + `": (\d+)`).FindStringSubmatch(said)
	if match == nil {
		t.Fatalf("status of %s does not count %q: %s", m.Name, name, said)
	}
	n, err := strconv.Atoi(match[1])
	must(t, err)
	return n
}

// watchLine counts what leaves home by its own line for visitors, or with
// another address than it has there; and what the floods send.
func (w *world) watchLine(t *testing.T) {
	t.Helper()
	_, err := w.lab.Host("cgnat").Run(t.Context(), "nft", `table inet line
delete table inet line
table inet line {
	counter leaked { }
	chain arriving {
		type filter hook prerouting priority -400
		iifname "lan1" ip daddr { `+w.lab.Visitor().IPv4.String()+`, 100.128.0.0/9 } counter name leaked
		iifname "lan1" ip saddr != 192.168.1.0/24 counter name leaked
	}
}`)
	must(t, err)
	_, err = w.lab.Host("internet").Run(t.Context(), "nft", fmt.Sprintf(`table inet flood
delete table inet flood
table inet flood {
	counter seen { }
	chain arriving {
		type filter hook prerouting priority -400
		ip daddr %s udp dport %d counter name seen
	}
}`, gateAt(latePort).Addr(), latePort))
	must(t, err)
}

func (w *world) noLeak(t *testing.T) {
	t.Helper()
	if n := packetsOf(t, w.lab.Host("cgnat"), "line leaked"); n != 0 {
		t.Errorf("%d packets to visitors have left home by its own line", n)
	}
}

func packetsOf(t *testing.T, on *lab.Host, counter string) int {
	t.Helper()
	said, err := on.Run(t.Context(), "nft", "list counter inet "+counter)
	must(t, err)
	_, rest, _ := strings.Cut(said, "packets ")
	text, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// udpFlood is a flood under way.
type udpFlood struct {
	w     *world
	start time.Time
	stop  func()
	ended chan error
}

// flood runs a program on a host of the lab until it is ended.
func (w *world) flood(t *testing.T, on *lab.Host, args ...string) *udpFlood {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	f := &udpFlood{w: w, start: time.Now(), stop: cancel, ended: make(chan error, 1)}
	go func() {
		_, err := on.Run(ctx, args...)
		f.ended <- err
	}()
	return f
}

// end ends the flood, which must not have ended by itself, and returns how many
// packets it sent in a second.
func (f *udpFlood) end(t *testing.T) float64 {
	t.Helper()
	rate := float64(packetsOf(t, f.w.lab.Host("internet"), "flood seen")) / time.Since(f.start).Seconds()
	select {
	case err := <-f.ended:
		t.Errorf("the flood ended by itself: %v", err)
	default:
		f.stop()
		<-f.ended
	}
	return rate
}

// floodUDP sends first packets of UDP flows from so many addresses, each flow
// from a port of its own, until it is killed.
func floodUDP(to, sources string) error {
	at, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	many, err := strconv.Atoi(sources)
	if err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		n := i % many
		packet := udpPacket(netip.AddrFrom4([4]byte{100, 128 + byte(n>>16), byte(n >> 8), byte(n)}), at, uint16(1024+(i/many+n)%60000))
		if err := unix.Sendto(s, packet, 0, &unix.SockaddrInet4{Addr: at.Addr().As4()}); err != nil {
			return err
		}
		rest(i)
	}
}

// rest keeps a flood to its pace.
func rest(sent int) {
	const burst = pace / 100
	if sent%burst == burst-1 {
		time.Sleep(10 * time.Millisecond)
	}
}

// ask sends a packet from every port of this machine to a UDP port, again and
// again, until it is killed. A tunnel that is away now comes back.
func ask(to, from string) error {
	at, err := net.ResolveUDPAddr("udp4", to)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from), Port: 1024 + i%60000})
		if err == nil { // a port that is taken is left out
			_, _ = c.WriteToUDP([]byte("?"), at)
			_ = c.Close()
		}
		rest(i)
	}
}

// answerLate answers each datagram once its sender is forgotten.
func answerLate(c net.PacketConn) {
	type question struct {
		from net.Addr
		due  time.Time
	}
	waiting := make(chan question, 1<<18)
	go func() {
		for q := range waiting {
			time.Sleep(time.Until(q.due))
			_, _ = c.WriteTo([]byte("!"), q.from) // which home's table refuses
		}
	}()
	for buf := make([]byte, 1); ; {
		if _, from, err := c.ReadFrom(buf); err == nil {
			waiting <- question{from, time.Now().Add(lateBy)}
		}
	}
}
