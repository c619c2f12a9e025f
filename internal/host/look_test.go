package host_test

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/survey"
)

func TestLook(t *testing.T) {
	m := newMachine(t)
	before := m.dump(t)
	for _, at := range []string{"0.0.0.0:8080", "127.0.0.1:8081", "0.0.0.0:8082"} {
		must(t, m.ns.Do(func() error {
			l, err := net.Listen("tcp4", at)
			if err == nil {
				t.Cleanup(func() { must(t, l.Close()) })
			}
			return err
		}))
	}
	must(t, m.ns.Do(func() error {
		c, err := net.ListenPacket("udp4", "0.0.0.0:68") // a DHCP client's
		if err == nil {
			t.Cleanup(func() { must(t, c.Close()) })
		}
		return err
	}))
	m.listenUnowned(t, "0.0.0.0:8083")

	var found host.Found
	must(t, m.ns.Do(func() (err error) {
		found, err = host.Look(context.Background(), "/", "203.0.113.10 55123 192.168.1.10 8082")
		return err
	}))
	own, err := os.ReadFile("/proc/self/comm")
	must(t, err)
	notes := strings.Join(survey.Judge(found.Survey, survey.Wish{Here: true, Port: 55107}).Notes, "\n")
	if want := strings.TrimSpace(string(own)) + " is listening on 8080/tcp here and will be closed; "; !strings.Contains(notes, want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
	// Without systemd, nobody can tell whose the other one is.
	if !strings.Contains(notes, " is listening on 8083/tcp here") || strings.Contains(notes, "8081") || strings.Contains(notes, "8082") || strings.Contains(notes, "68/udp") {
		t.Errorf("notes %q", notes)
	}
	if found.Survey.NFT == "" || !found.Survey.WireGuard && !found.Survey.TUN {
		t.Errorf("%+v", found.Survey)
	}
	if got, want := found.PublicText(), "192.168.1.10 on eth0"; got != want {
		t.Errorf("public %q, want %q", got, want)
	}
	if after := m.dump(t); after != before {
		t.Errorf("looking has changed the machine from\n%s\nto\n%s", before, after)
	}
}

// listenUnowned makes a listener that no process holds: it is under way from
// one unix socket to another.
func (m *machine) listenUnowned(t *testing.T, at string) {
	t.Helper()
	var l net.Listener
	must(t, m.ns.Do(func() (err error) { l, err = net.Listen("tcp4", at); return err }))
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
