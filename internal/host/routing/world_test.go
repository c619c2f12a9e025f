package routing

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

func TestMain(m *testing.M) { netnstest.Main(m) }

// within runs a test's steps in a namespace. They must not end the test.
func within(t testing.TB, ns *netns.Namespace, f func() error) {
	t.Helper()
	must(t, ns.Do(f))
}

// ip runs the lines as commands of ip(8).
func ip(t testing.TB, ns *netns.Namespace, lines string, options ...string) {
	t.Helper()
	run(t, ns, lines, "ip", append(options, "-batch", "-")...)
}

func run(t testing.TB, ns *netns.Namespace, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	var text []byte
	err := ns.Do(func() (err error) { text, err = cmd.CombinedOutput(); return err })
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, text)
	}
	return string(text)
}

// dumpOf is all rules and routes of the namespace.
func dumpOf(t testing.TB, ns *netns.Namespace) string {
	t.Helper()
	var all strings.Builder
	for _, family := range []string{"-4", "-6"} {
		all.WriteString(run(t, ns, "", "ip", "-d", family, "rule"))
		all.WriteString(run(t, ns, "", "ip", "-d", family, "route", "show", "table", "all"))
	}
	return all.String()
}

// newHost is a namespace without IPv6 on new interfaces, unless a test wants
// it: the kernel would add addresses and routes of its own later.
func newHost(t testing.TB, lines string) *netns.Namespace {
	t.Helper()
	ns := netnstest.New(t, "host")
	setSysctl(t, ns, "net/ipv6/conf/default/disable_ipv6", "1")
	ip(t, ns, lines)
	return ns
}

func setSysctl(t testing.TB, ns *netns.Namespace, path, value string) {
	t.Helper()
	within(t, ns, func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0) })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
