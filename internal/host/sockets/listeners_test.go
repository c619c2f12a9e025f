package sockets

import (
	"cmp"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

func listenersOf(t testing.TB, ns *netns.Namespace) (list []Listener) {
	t.Helper()
	within(t, ns, func() (err error) { list, err = Listeners(); return err })
	return list
}

func TestListeners(t *testing.T) {
	ns := netnstest.New(t, "host")
	listenAs(t, ns, "web server", "0.0.0.0:80")
	listenAs(t, ns, "sshd", "[::]:22")
	listenAs(t, ns, "local", "127.0.0.1:631")
	listenAs(t, ns, "local6", "[::1]:632")
	var udp, connected net.PacketConn
	within(t, ns, func() (err error) {
		if udp, err = net.ListenPacket("udp4", "127.0.0.1:5353"); err != nil {
			return err
		}
		c, err := net.Dial("udp4", "127.0.0.1:5353")
		if err == nil {
			connected = c.(*net.UDPConn)
		}
		return err
	})
	defer udp.Close()
	defer connected.Close()
	own, err := os.ReadFile("/proc/self/comm")
	must(t, err)

	any4, any6, loopback := netip.IPv4Unspecified(), netip.IPv6Unspecified(), addr("127.0.0.1")
	want := []Listener{
		{Protocol: forward.TCP, Addr: any4, Port: 80, Process: "web server"},
		{Protocol: forward.TCP, Addr: any6, Port: 22, Process: "sshd"},
		{Protocol: forward.TCP, Addr: loopback, Port: 631, Process: "local"},
		{Protocol: forward.TCP, Addr: addr("::1"), Port: 632, Process: "local6"},
		{Protocol: forward.UDP, Addr: loopback, Port: 5353, Process: string(own[:len(own)-1])},
	}
	got := listenersOf(t, ns)
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("missing: %v among %v", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("listeners %v, want %v", got, want)
	}
}

// Where the kernel has no sock_diag, /proc says as much of who waits.
func TestBothWaysToAskSayTheSame(t *testing.T) {
	ns := netnstest.New(t, "host")
	listenAs(t, ns, "web", "0.0.0.0:80")
	listenAs(t, ns, "web6", "[::1]:80")
	listenAsNobody(t, ns, "ssh", "[::]:2022")
	keepSocketInFlight(t, ns, "127.0.0.1:2222")
	var udp net.PacketConn
	within(t, ns, func() (err error) { udp, err = net.ListenPacket("udp", "[::]:5353"); return err })
	defer udp.Close()
	for _, protocol := range []forward.Protocol{forward.TCP, forward.UDP} {
		var diag, proc []socket
		within(t, ns, func() (err error) {
			if diag, err = waitingOfDiag(protocol); err != nil {
				return err
			}
			proc, err = waitingOfProc(protocol)
			return err
		})
		for i := range diag {
			diag[i].device, diag[i].onlyIPv6, diag[i].group = 0, false, 0
		}
		byInode := func(a, b socket) int { return cmp.Compare(a.inode, b.inode) }
		slices.SortFunc(diag, byInode)
		slices.SortFunc(proc, byInode)
		if len(diag) == 0 || !slices.Equal(diag, proc) {
			t.Errorf("%s: sock_diag says\n%+v\nand /proc\n%+v", protocol, diag, proc)
		}
	}
}

func TestListenerWithoutOwner(t *testing.T) {
	ns := netnstest.New(t, "host")
	keepSocketInFlight(t, ns, "127.0.0.1:2222")
	want := []Listener{{Protocol: forward.TCP, Addr: addr("127.0.0.1"), Port: 2222, Unit: ownUnit(t)}}
	if got := listenersOf(t, ns); !slices.Equal(got, want) {
		t.Errorf("listeners %v, want %v", got, want)
	}
}

// ownUnit is the unit that runs the tests, as the process itself is told.
func ownUnit(t *testing.T) string {
	t.Helper()
	groups, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	for line := range strings.Lines(string(groups)) {
		if group, isV2 := strings.CutPrefix(line, "0::"); isV2 {
			return unitOf(strings.TrimSpace(group))
		}
	}
	return ""
}

// The kernel names the control group of a socket that no process holds, and
// its folder is found.
func TestSocketGroups(t *testing.T) {
	ns := netnstest.New(t, "host")
	keepSocketInFlight(t, ns, "127.0.0.1:2222")
	keepSocketInFlight(t, ns, "[::1]:2222")
	var sockets []socket
	within(t, ns, func() (err error) { sockets, err = waitingOfDiag(forward.TCP); return err })
	if len(sockets) != 2 {
		t.Fatalf("%d sockets, not 2: %v", len(sockets), sockets)
	}
	groups, err := controlGroups("/")
	must(t, err)
	for _, s := range sockets {
		if _, found := groups[s.group]; !found {
			t.Errorf("socket %v: no folder has the number %d", s.at, s.group)
		}
	}
}

func TestControlGroups(t *testing.T) {
	for layout, top := range map[string]string{"v2": "sys/fs/cgroup", "beside v1": "sys/fs/cgroup/unified"} {
		t.Run(layout, func(t *testing.T) {
			root := t.TempDir()
			group := filepath.Join(root, top, "system.slice", "ssh.service")
			must(t, os.MkdirAll(group, 0o700))
			must(t, os.WriteFile(filepath.Join(root, top, "cgroup.controllers"), nil, 0o600))
			var stat unix.Stat_t
			must(t, unix.Stat(group, &stat))
			if got, err := controlGroups(root); err != nil || got[stat.Ino] != "/system.slice/ssh.service" || len(got) != 3 {
				t.Errorf("control groups %v", got)
			}
		})
	}
	v1 := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(v1, "sys/fs/cgroup/memory/ssh.service"), 0o700))
	if got, err := controlGroups(v1); err != nil || len(got) != 0 {
		t.Errorf("with v1 alone: %v", got)
	}
}

func TestUnitOf(t *testing.T) {
	for group, want := range map[string]string{
		"":                              "",
		"/":                             "",
		"/init.scope":                   "init.scope",
		"/system.slice/ssh.service":     "ssh.service",
		"/system.slice/a.service/inner": "a.service",
		"/system.slice":                 "",
		"/openrc.sshd":                  "sshd.service",
		"/user.slice/user-1000.slice/user@1000.service/app.slice/b.service": "b.service",
	} {
		if got := unitOf(group); got != want {
			t.Errorf("unitOf(%q) = %q, want %q", group, got, want)
		}
	}
}

func TestOwner(t *testing.T) {
	for _, tt := range []struct {
		listener Listener
		want     string
	}{
		{Listener{Process: "nginx", Unit: "web.service"}, "nginx"},
		{Listener{Unit: "nginx.service"}, "nginx"},
		{Listener{Unit: "session-3.scope"}, ""},
		{Listener{Unit: "init.scope"}, ""},
		{Listener{}, ""},
	} {
		if got := tt.listener.Owner(); got != tt.want {
			t.Errorf("the owner of %+v is %q, want %q", tt.listener, got, tt.want)
		}
	}
}

// A process gives itself any name, and a control group of a user has one, too.
func TestNamesArePrintable(t *testing.T) {
	ns := netnstest.New(t, "host")
	listenAs(t, ns, "\x1b[2J\u202eEV\x9bIL", "0.0.0.0:8080")
	got := listenersOf(t, ns)
	if len(got) != 1 || got[0].Process != "\ufffd[2J\ufffdEV\ufffdIL" {
		t.Errorf("listeners %+v", got)
	}
	if got := unitOf("/user.slice/user@1000.service/\x1b[2J.service"); got != "\ufffd[2J.service" {
		t.Errorf("unit %q", got)
	}
}

// keepSocketInFlight makes a listener that no process holds: it is under way
// from one unix socket to another.
func keepSocketInFlight(t testing.TB, ns *netns.Namespace, at string) {
	t.Helper()
	var l net.Listener
	within(t, ns, func() (err error) { l, err = net.Listen("tcp", at); return err })
	f, err := l.(*net.TCPListener).File()
	must(t, err)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() {
		must(t, unix.Close(pair[0]))
		must(t, unix.Close(pair[1]))
	})
	must(t, unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0))
	must(t, f.Close())
	must(t, l.Close())
}

func FuzzParseSocketAddr(f *testing.F) {
	for _, seed := range []string{
		"0100007F:1F90", "00000000:0016", "00000000000000000000000000000000:0016",
		"00000000000000000000000001000000:0277", "0000000000000000FFFF00000100007F:1F90",
		"", ":", "0100007F", "0100007F:", "0100007:1F90", "0100007F:1F90:", "+100007F:1F90", "é00007F:1F90", "0100007F0100007F:1F90",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := parseSocketAddr(text)
		if err != nil {
			return
		}
		if !at.IsValid() || at.Addr().Is4In6() || len(text) > 37 {
			t.Errorf("%q is read as %v", text, at)
		}
	})
}
