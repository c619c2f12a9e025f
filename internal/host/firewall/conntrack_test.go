package firewall_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

// What is gone is covered, what lives is not, and no block could be larger.
func TestCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few bits, so that numbers meet.
		number := rapid.OneOf(rapid.Uint32Range(1, 40), rapid.Uint32Range(1, forward.MaxID))
		gone := rapid.SliceOf(number).Draw(t, "gone")
		living := slices.DeleteFunc(rapid.SliceOf(number).Draw(t, "living"), func(id uint32) bool { return slices.Contains(gone, id) })
		blocks := firewall.Cover(gone, living)
		covered := func(id uint32) int {
			n := 0
			for _, b := range blocks {
				if b[0] <= id && id <= b[1] {
					n++
				}
			}
			return n
		}
		for _, id := range gone {
			if covered(id) != 1 {
				t.Fatalf("%d is in %d of %v", id, covered(id), blocks)
			}
		}
		for _, id := range living {
			if covered(id) != 0 {
				t.Fatalf("%d lives, and is in one of %v", id, blocks)
			}
		}
		for _, b := range blocks {
			if b[1] > forward.MaxID || b[0] > b[1] {
				t.Fatalf("%v is no block of numbers", b)
			}
		}
	})
}

// A home that replaces all its forwards costs a few walks through the table,
// however many they are.
func TestConsecutiveNumbersNeedFewBlocks(t *testing.T) {
	numbers := func(from, to uint32) (list []uint32) {
		for id := from; id <= to; id++ {
			list = append(list, id)
		}
		return list
	}
	living := slices.Concat(numbers(1, 300), numbers(601, 900))
	if n := len(firewall.Cover(numbers(301, 600), living)); n > firewall.MostWalks {
		t.Errorf("300 numbers in a row need %d blocks", n)
	}
	if n := len(firewall.Cover(numbers(301, 600), nil)); n != 1 {
		t.Errorf("where nothing else lives, they need %d blocks", n)
	}
}

// flows makes conntrack entries as packets would, without packets: n UDP flows
// to a port of the gate for each mark.
type flows struct {
	conn *netlink.Conn
	made uint32
}

func newFlows(t testing.TB) *flows {
	t.Helper()
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	return &flows{conn: conn}
}

func (f *flows) add(t testing.TB, n int, mark uint32, protocol forward.Protocol, port uint16) {
	t.Helper()
	for range n {
		f.made++
		e := netlink.NewAttributeEncoder()
		e.ByteOrder = binary.BigEndian
		visitor := netip.AddrFrom4([4]byte{203, byte(f.made >> 16), byte(f.made >> 8), byte(f.made)})
		e.Nested(1, tuple(visitor, gatePublic4, protocol, 4000, port))
		e.Nested(2, tuple(gatePublic4, visitor, protocol, port, 4000))
		if protocol == forward.TCP {
			e.Nested(4, func(e *netlink.AttributeEncoder) error { // protocol info: TCP, established
				e.Nested(1, func(e *netlink.AttributeEncoder) error { e.Uint8(1, 3); return nil })
				return nil
			})
		}
		e.Uint32(7, uint32(time.Hour/time.Second))
		e.Uint32(8, mark)
		data, err := e.Encode()
		must(t, err)
		_, err = f.conn.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK << 8, Flags: netlink.Request | netlink.Create | netlink.Excl | netlink.Acknowledge},
			Data:   append([]byte{unix.AF_INET, 0, 0, 0}, data...),
		})
		must(t, err)
	}
}

func tuple(from, to netip.Addr, protocol forward.Protocol, fromPort, toPort uint16) func(*netlink.AttributeEncoder) error {
	return func(e *netlink.AttributeEncoder) error {
		e.Nested(1, func(e *netlink.AttributeEncoder) error {
			e.Bytes(1, from.AsSlice())
			e.Bytes(2, to.AsSlice())
			return nil
		})
		e.Nested(2, func(e *netlink.AttributeEncoder) error {
			e.ByteOrder = binary.BigEndian
			e.Uint8(1, uint8(protocol))
			e.Uint16(2, fromPort)
			e.Uint16(3, toPort)
			return nil
		})
		return nil
	}
}

// left counts the flows by mark.
func (f *flows) left(t testing.TB) map[uint32]int {
	t.Helper()
	answers, err := f.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | 1, Flags: netlink.Request | netlink.Dump},
		Data:   []byte{unix.AF_INET, 0, 0, 0},
	})
	must(t, err)
	count := map[uint32]int{}
	for _, a := range answers {
		d, err := netlink.NewAttributeDecoder(a.Data[4:])
		must(t, err)
		d.ByteOrder = binary.BigEndian
		mark := uint32(0)
		for d.Next() {
			if d.Type() == 8 {
				mark = d.Uint32()
			}
		}
		count[mark]++
	}
	return count
}

// However the numbers of those that go and those that stay lie, exactly the
// flows of those that go are deleted: in blocks, and one by one.
func TestDeleteForwardsSparesTheLiving(t *testing.T) {
	ours := func(id uint32) uint32 { return defaultMarks.Forward | id }
	foreign := uint32(0x00000002) // another program's mark, whose low bits look like a number
	inARow := func(id uint32) bool { return id > 40 && id <= 90 }
	for name, c := range map[string]struct {
		isGone func(id uint32) bool
		each   int
	}{
		"one":           {func(id uint32) bool { return id == 50 }, 2},
		"in a row":      {inARow, 2},
		"in a busy row": {inARow, 60}, // more than are deleted one by one
		"every other":   {func(id uint32) bool { return id%2 == 0 }, 2},
		"all":           {func(uint32) bool { return true }, 2},
	} {
		inside(t, netnstest.New(t, strings.ReplaceAll(name, " ", "-")), func() {
			f := newFlows(t)
			var gone, living []uint32
			want := map[uint32]int{foreign: 2, 0: 2}
			f.add(t, 2, foreign, forward.UDP, 5000)
			f.add(t, 2, 0, forward.UDP, 5000)
			for id := uint32(1); id <= 100; id++ {
				f.add(t, c.each, ours(id), forward.UDP, 5000)
				if c.isGone(id) {
					gone = append(gone, id)
				} else {
					living = append(living, id)
					want[ours(id)] = c.each
				}
			}
			must(t, firewall.DeleteForwards(defaultMarks, gone, living))
			if diff := cmp.Diff(want, f.left(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		})
	}
}

// A forward that changes keeps the flows that it carries as before, and loses
// the others: those of a port, a family or visitors that it no longer serves,
// and all if it leads elsewhere.
func TestAChangedForwardKeepsWhatItCarries(t *testing.T) {
	before := toHome(7, "5000-5001")
	for name, c := range map[string]struct {
		change func(*forward.Grant)
		left   int // of two flows to each of two ports, over IPv4
	}{
		"loses a port":        {func(f *forward.Grant) { f.Ports = ports("5001") }, 2},
		"gains a port":        {func(f *forward.Grant) { f.Ports = ports("5000-5002") }, 4},
		"loses IPv6":          {func(f *forward.Grant) { f.Target6 = netip.Addr{} }, 4},
		"loses IPv4":          {func(f *forward.Grant) { f.Target4 = netip.Addr{} }, 0},
		"allows one visitor":  {func(f *forward.Grant) { f.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.0.1/32")} }, 1},
		"another limit":       {func(f *forward.Grant) { f.Limit.Connections = 1 }, 4},
		"to another home":     {func(f *forward.Grant) { f.Target4 = netip.MustParseAddr("10.99.0.9") }, 0},
		"becomes masqueraded": {func(f *forward.Grant) { f.Masquerade = true }, 0},
	} {
		inside(t, netnstest.New(t, strings.ReplaceAll(name, " ", "-")), func() {
			f, mark, foreign := newFlows(t), defaultMarks.Forward|7, defaultMarks.Forward|8
			f.add(t, 2, mark, forward.UDP, 5000)
			f.add(t, 2, mark, forward.TCP, 5001)
			f.add(t, 1, foreign, forward.UDP, 5000)
			after := before
			c.change(&after)
			must(t, firewall.DeleteNotCarried(defaultMarks, []firewall.Change{{Before: before, After: after}}))
			if got := f.left(t); got[mark] != c.left || got[foreign] != 1 {
				t.Errorf("%s: %d of its 4 flows are left, not %d; of another forward %d of 1", name, got[mark], c.left, got[foreign])
			}
		})
	}
}

// Only UDP flows to the ports in question are freed, whatever mark of another
// program they have, and none of our own.
func TestDeleteUnforwardedTakesUDPAlone(t *testing.T) {
	inside(t, netnstest.New(t, "free"), func() {
		f := newFlows(t)
		strange := []uint32{0, 0x00000002, 0x20000001, 0x80000001, defaultMarks.Forward | 0x80000000}
		want := map[uint32]int{}
		for _, mark := range append(strange, defaultMarks.Forward|7) {
			f.add(t, 1, mark, forward.UDP, 5000)
			f.add(t, 1, mark, forward.UDP, 6000) // another port
			f.add(t, 1, mark, forward.TCP, 5000) // somebody's connection
			want[mark] = 2
		}
		want[defaultMarks.Forward|7] = 3
		must(t, firewall.DeleteUnforwarded(defaultMarks, forward.NewPortSet(ports("5000", "5001")...), []netip.Addr{gatePublic4}))
		if diff := cmp.Diff(want, f.left(t)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// BenchmarkDeleteForwards measures what a push costs that replaces 250
// forwards, beside a conntrack table with 64k flows of others.
func BenchmarkDeleteForwards(b *testing.B) {
	inside(b, netnstest.New(b, "bench"), func() {
		f := newFlows(b)
		f.add(b, 1<<16, defaultMarks.Forward|1, forward.UDP, 5000)
		living := []uint32{1}
		for name, step := range map[string]uint32{"in a row": 1, "scattered": 2} {
			var gone []uint32
			for id := uint32(1000); len(gone) < 250; id += step {
				gone, living = append(gone, id), append(living, id+step-1)
			}
			living = slices.DeleteFunc(living, func(id uint32) bool { return slices.Contains(gone, id) })
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					must(b, firewall.DeleteForwards(defaultMarks, gone, living))
					must(b, firewall.DeleteUnforwarded(defaultMarks, forward.NewPortSet(ports("5000-6000")...), []netip.Addr{gatePublic4}))
				}
			})
		}
	})
}
