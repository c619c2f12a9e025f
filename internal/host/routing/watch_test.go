package routing

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

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
