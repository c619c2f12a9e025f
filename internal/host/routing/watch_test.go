package routing

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// patience is how long a test waits for what should come at once.
const patience = 10 * time.Second

func TestWatch(t *testing.T) {
	tests := []struct{ name, program, input string }{
		{"a link appears", "ip", "link add eth1 type bridge"},
		{"a link goes down", "ip", "link set eth0 down"},
		{"an address", "ip", "addr add 192.0.2.3/24 dev eth0"},
		{"an address goes", "ip", "addr del 192.0.2.2/24 dev eth0"},
		{"an IPv6 address", "ip", "addr add 2001:db8::2/64 dev lo"},
		{"a route", "ip", "route add 203.0.113.0/24 dev eth0"},
		{"a route in another table goes", "ip", "route del default dev eth0 table 6700"},
		{"an IPv6 route", "ip", "route add 2001:db8:1::/64 dev lo"},
		{"a rule", "ip", "rule add pref 50 lookup 6700"},
		{"a rule goes", "ip", "rule del pref 100"},
		{"an IPv6 rule", "ip", "-6 rule add pref 50 lookup 6700"},
		{"a table", "nft", "table inet gatelodge { }"},
		{"a table goes", "nft", "delete table inet other"},
		{"a rule of a table", "nft", "add rule inet other c drop"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ns := newHost(t, `
				link add eth0 type bridge
				link set eth0 up
				addr add 192.0.2.2/24 dev eth0
				route add default dev eth0 table 6700
				rule add pref 100 lookup 6700`)
			run(t, ns, "table inet other { chain c { ; } ; }", "nft", "-f", "-")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			events := watch(t, ctx, ns)
			expectNone(t, events)
			change(t, ns, tt.program, tt.input)
			expect(t, events)
		})
	}
}

// Routes to parts of the internet come and go without anybody being told.
func TestRoutesToTheInternetConcernNobody(t *testing.T) {
	ns := newRouter(t, 0)
	tests := []struct {
		lines string
		want  bool
	}{
		{"route add 203.0.113.0/24 via 198.51.100.1", false},
		{"route change 203.0.113.0/24 via 198.51.100.9", false},
		{"route add 203.0.114.0/24 via 198.51.100.1 table 100", false},
		{"route add 192.0.2.0/24 nexthop via 198.51.100.1 nexthop via 198.51.100.9", false},
		{"route add blackhole 192.0.3.0/24", false},
		{"route del 203.0.113.0/24", false},
		{"route add 203.0.113.0/24 dev eth0", true},
		{"route add 10.1.0.0/16 via 198.51.100.1", true},
		{"route add unreachable 10.2.0.0/16", true},
		{"route add 128.0.0.0/1 via 198.51.100.1", true},
		{"route add default via 198.51.100.1 table 100", true},
		{"route add 203.0.115.0/24 via 198.51.100.1 proto 155", true},
		{"route del default", true},
		{"addr add 198.51.100.7/32 dev eth0", true},
		{"rule add pref 50 lookup 100", true},
	}
	var conn *netlink.Conn
	within(t, ns, func() (err error) {
		if conn, err = netlink.Dial(unix.NETLINK_ROUTE, nil); err != nil {
			return err
		}
		for _, g := range watched[unix.NETLINK_ROUTE] {
			err = errors.Join(err, conn.JoinGroup(g))
		}
		return err
	})
	defer conn.Close()
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	for _, tt := range tests {
		ip(t, ns, tt.lines)
		ip(t, ns, "link add last type bridge\nlink del last")
		var got, end bool
		for !end {
			messages, err := conn.Receive()
			must(t, err)
			for _, m := range messages {
				end = end || m.Header.Type == unix.RTM_DELLINK
				got = got || m.Header.Type != unix.RTM_NEWLINK && m.Header.Type != unix.RTM_DELLINK && concerns(m)
			}
		}
		if got != tt.want {
			t.Errorf("%s: of concern: %t, not %t", tt.lines, got, tt.want)
		}
	}
}

func TestEventsComeAtOnceAndThenWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		seen, events := make(chan Event, 1), make(chan Event, 1)
		go pace(ctx, seen, events)
		for range 1000 { // in a second
			tell(seen)
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		cancel()
		var n int
		for range events {
			n++
		}
		if n != 1 {
			t.Errorf("%d events wait, not 1", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		seen, events := make(chan Event, 1), make(chan Event, 1)
		go pace(ctx, seen, events)
		var n int
		go func() {
			for range events {
				n++
			}
		}()
		tell(seen)
		synctest.Wait()
		if n != 1 {
			t.Error("the first event waits")
		}
		for range 1000 {
			tell(seen)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(eventsEvery)
		synctest.Wait()
		if n < 4 || n > 6 {
			t.Errorf("%d events in a second and a quarter", n)
		}
	})
}

func TestWatchLeavesNothingBehind(t *testing.T) {
	ns := newHost(t, "")
	others := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	events := watch(t, ctx, ns)
	change(t, ns, "ip", "link add eth0 type bridge") // nobody takes the event
	change(t, ns, "ip", "link add eth1 type bridge")
	expect(t, events)
	cancel()
	goleak.VerifyNone(t, others)
}

// A listener to nf_tables costs the kernel some KiB for each element that
// anybody loads: the machine must not have one by us.
func TestWatchDoesNotListenToNetfilter(t *testing.T) {
	ns := newHost(t, "")
	watch(t, t.Context(), ns)
	var text []byte
	within(t, ns, func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/netlink")
		return err
	})
	var seen int
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line) // sk, protocol, port, groups
		if len(f) < 4 || f[1] != strconv.Itoa(unix.NETLINK_NETFILTER) || f[2] == "0" {
			continue
		}
		seen++
		if strings.Trim(f[3], "0") != "" {
			t.Errorf("a socket listens to groups %s of netfilter", f[3])
		}
	}
	if seen == 0 {
		t.Errorf("there is no socket of ours at all:\n%s", text)
	}
}

func TestWatchOfAnEndedContext(t *testing.T) {
	ns := newHost(t, "")
	others := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	watch(t, ctx, ns)
	goleak.VerifyNone(t, others)
}

func watch(t testing.TB, ctx context.Context, ns *netns.Namespace) (events <-chan Event) {
	t.Helper()
	within(t, ns, func() (err error) {
		events, err = Watch(ctx)
		return err
	})
	return events
}

func change(t testing.TB, ns *netns.Namespace, program, input string) {
	t.Helper()
	if program == "nft" {
		run(t, ns, input, "nft", "-f", "-")
		return
	}
	cmd := exec.Command("ip", strings.Fields(input)...)
	within(t, ns, cmd.Run)
}

func expect(t testing.TB, events <-chan Event) {
	t.Helper()
	select {
	case <-events:
	case <-time.After(patience):
		t.Fatal("no event")
	}
}

// expectNone makes sure that the event to come is that of the change to come.
func expectNone(t testing.TB, events <-chan Event) {
	t.Helper()
	select {
	case <-events:
		t.Fatal("an event before anything has changed")
	default:
	}
}
