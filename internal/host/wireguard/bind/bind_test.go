package bind

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

func TestMain(m *testing.M) { netnstest.Main(m) }

// A link with two hosts. Each has two addresses of each family; the second ones
// are those that the kernel would not choose.
//
//	here   192.0.2.1, .11, 2001:db8::1, ::11
//	there  192.0.2.2, .12, 2001:db8::2, ::12
func newLink(t *testing.T) (here, there *netns.Namespace) {
	t.Helper()
	here, there = netnstest.New(t, "here"), netnstest.New(t, "there")
	configure := func(ns *netns.Namespace, lines ...string) {
		must(t, ns.Do(func() error {
			cmd := exec.Command("ip", "-batch", "-")
			cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("ip: %w: %s", err, out)
			}
			return nil
		}))
	}
	configure(here, "link add eth0 type veth peer name eth0 netns there")
	for ns, n := range map[*netns.Namespace]int{here: 1, there: 2} {
		configure(ns, fmt.Sprintf("addr add 192.0.2.%d/24 dev eth0", n), fmt.Sprintf("addr add 192.0.2.1%d/24 dev eth0", n),
			fmt.Sprintf("addr add 2001:db8::%d/64 dev eth0 nodad", n), fmt.Sprintf("addr add 2001:db8::1%d/64 dev eth0 nodad preferred_lft 0", n),
			"link set lo up", "link set eth0 up")
	}
	return here, there
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// opened is a bind that is open in a namespace. Its packets come in order.
type opened struct {
	conn.Bind
	port    uint16
	packets chan received
	readers sync.WaitGroup
}

type received struct {
	data []byte
	from conn.Endpoint
}

func openBind(t *testing.T, ns *netns.Namespace, port uint16) *opened {
	t.Helper()
	o := &opened{Bind: New(), packets: make(chan received, 10000)}
	must(t, ns.Do(func() error {
		receive, actual, err := o.Open(port)
		o.port = actual
		for _, f := range receive {
			o.readers.Go(func() { o.read(f) })
		}
		return err
	}))
	t.Cleanup(func() { must(t, o.Close()); o.readers.Wait() })
	return o
}

func (o *opened) read(receive conn.ReceiveFunc) {
	packets := make([][]byte, o.BatchSize())
	for i := range packets {
		packets[i] = make([]byte, 1<<16)
	}
	sizes, from := make([]int, len(packets)), make([]conn.Endpoint, len(packets))
	for {
		n, err := receive(packets, sizes, from)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		for i := range n {
			o.packets <- received{bytes.Clone(packets[i][:sizes[i]]), from[i]}
		}
	}
}

// next returns the next packet.
func (o *opened) next(t *testing.T) received {
	t.Helper()
	select {
	case p := <-o.packets:
		return p
	case <-time.After(10 * time.Second):
		t.Fatal("no packet comes")
		return received{}
	}
}

func (o *opened) at(t *testing.T, address string, port uint16) conn.Endpoint {
	t.Helper()
	e, err := o.ParseEndpoint(netip.AddrPortFrom(netip.MustParseAddr(address), port).String())
	must(t, err)
	return e
}

// A gate has homes of both families; a home falls back from one to the other.
func TestBindSendsToBothFamiliesInTurn(t *testing.T) {
	here, there := newLink(t)
	a, b := openBind(t, here, 0), openBind(t, there, 0)
	for i, address := range []string{"192.0.2.2", "2001:db8::2", "::ffff:192.0.2.12", "2001:db8::12", "192.0.2.2", "2001:db8::2"} {
		text := fmt.Sprintf("packet %d to %s", i, address)
		must(t, a.Send([][]byte{[]byte(text)}, a.at(t, address, b.port)))
		if got := b.next(t); string(got.data) != text {
			t.Errorf("%q came instead of %q", got.data, text)
		}
	}
}

// burst returns packets that the kernel sends as few datagrams and receives so.
func burst(count, size int) [][]byte {
	var packets [][]byte
	for i := range count {
		packets = append(packets, bytes.Repeat([]byte{byte(i)}, size))
	}
	packets[count-1] = packets[count-1][:size/2]
	return packets
}

// Who has dialled the second address hears the answer from there, whether their
// packets came alone or coalesced.
func TestBindAnswersFromTheAddressThatWasDialled(t *testing.T) {
	here, there := newLink(t)
	a, b := openBind(t, here, 0), openBind(t, there, 0)
	for _, second := range []string{"192.0.2.12", "2001:db8::12", "192.0.2.2", "2001:db8::2"} {
		for _, count := range []int{1, 2, 100, 128} {
			packets := burst(count, 1400)
			must(t, a.Send(packets, a.at(t, second, b.port)))
			var from conn.Endpoint
			for i := range packets {
				got := b.next(t)
				if from = got.from; !bytes.Equal(got.data, packets[i]) || from.SrcIP().String() != second {
					t.Fatalf("packet %d of %d to %s: %d bytes of %d, at %s", i, count, second, len(got.data), got.data[0], from.SrcToString())
				}
			}
			must(t, b.Send([][]byte{[]byte("answer")}, from))
			if answer := a.next(t); answer.from.DstIP().String() != second {
				t.Errorf("the answer to %d packets came from %s and not from %s", count, answer.from.DstIP(), second)
			}
		}
	}
}

// The address or the interface at which a peer was heard has gone.
func TestBindLeavesASourceThatHasGone(t *testing.T) {
	for _, second := range []string{"192.0.2.11/24", "2001:db8::11/64"} {
		t.Run(second, func(t *testing.T) {
			here, there := newLink(t)
			a, b := openBind(t, here, 0), openBind(t, there, 0)
			dialled := netip.MustParsePrefix(second).Addr()
			must(t, b.Send([][]byte{[]byte("hello")}, b.at(t, dialled.String(), a.port)))
			from := a.next(t).from
			heard := func() netip.Addr {
				must(t, a.Send(burst(3, 1000), from))
				b.next(t)
				b.next(t)
				return b.next(t).from.DstIP()
			}
			from.(*endpoint).source.Store(&source{address: dialled, index: 9999})
			if got := heard(); got != dialled {
				t.Errorf("without the interface it comes from %s, and not from %s", got, dialled)
			}
			must(t, here.Do(func() error { return exec.Command("ip", "addr", "del", second, "dev", "eth0").Run() }))
			if got := heard(); got == dialled || got.Is6() != dialled.Is6() {
				t.Errorf("without the address it comes from %s", got)
			}
		})
	}
}

func TestBindIsClosedAndOpenedAgain(t *testing.T) {
	here, there := newLink(t)
	a, b := openBind(t, here, 0), openBind(t, there, 7000)
	if _, _, err := b.Open(0); !errors.Is(err, conn.ErrBindAlreadyOpen) {
		t.Errorf("a second Open: %v", err)
	}
	must(t, there.Do(func() error {
		if _, _, err := New().Open(7000); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("a port in use: %v", err)
		}
		return nil
	}))
	to := a.at(t, "2001:db8::2", 7000)
	must(t, b.Close())
	must(t, b.Close())
	b.readers.Wait()
	if err := b.Send([][]byte{{1}}, to); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send when closed: %v", err)
	}
	again := openBind(t, there, 7000)
	if again.port != 7000 || a.port == 0 {
		t.Errorf("ports %d and %d", again.port, a.port)
	}
	must(t, a.Send([][]byte{[]byte("hello")}, to))
	again.next(t)
	if err := a.Send([][]byte{{1}}, &conn.StdNetEndpoint{}); !errors.Is(err, conn.ErrWrongEndpointType) {
		t.Errorf("somebody else's endpoint: %v", err)
	}
}

func TestBindMarksBothFamilies(t *testing.T) {
	here, _ := newLink(t)
	a := openBind(t, here, 0)
	must(t, a.SetMark(0x20000000))
	for i, s := range a.Bind.(*bind).sockets {
		raw, err := s.conn.SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) {
			if mark, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); err != nil || mark != 0x20000000 {
				t.Errorf("socket %d has mark %#x: %v", i, mark, err)
			}
		}))
	}
}

// wireguard-go sends, receives and clears sources at once.
func TestBindMayBeUsedByManyAtOnce(t *testing.T) {
	here, there := newLink(t)
	a, b := openBind(t, here, 0), openBind(t, there, 0)
	must(t, b.Send([][]byte{[]byte("hello")}, b.at(t, "192.0.2.11", a.port)))
	from := a.next(t).from
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for range 50 {
				must(t, a.Send(burst(10, 500), from))
				from.ClearSrc()
			}
		})
	}
	senders.Wait()
	for range 4 * 50 * 10 {
		b.next(t)
	}
}

func TestGroupsAreWhatTheKernelCutsAgain(t *testing.T) {
	to := newEndpoint(netip.MustParseAddrPort("192.0.2.2:1"))
	for _, c := range []struct {
		sizes []int
		want  string
	}{
		{[]int{100}, "1"},
		{[]int{100, 100, 100}, "3"},
		{[]int{100, 100, 50, 100, 100}, "3 2"},
		{[]int{100, 200, 200, 10, 10, 20}, "1 3 1 1"},
		{[]int{30000, 30000, 30000}, "2 1"},
		{slices.Repeat([]int{32}, 128), "64 64"},
		{slices.Repeat([]int{1452}, 100), "45 45 10"},
	} {
		var packets [][]byte
		for _, n := range c.sizes {
			packets = append(packets, make([]byte, n))
		}
		var got []string
		for _, m := range group(packets, 65507, to, &source{address: netip.MustParseAddr("192.0.2.1")}, make([]ipv6.Message, conn.IdealBatchSize)) {
			got = append(got, fmt.Sprint(len(m.Buffers)))
			if a := parseArrival(m.OOB); a.at.address.String() != "192.0.2.1" {
				t.Errorf("%v: a message without source", c.sizes)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v: groups of %v instead of %s", c.sizes, got, c.want)
		}
	}
}
