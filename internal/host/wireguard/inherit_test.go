package wireguard_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// restart ends home's process and has the next one inherit what the service
// manager has kept. between runs while nobody serves the tunnel.
func (w *world) restart(t *testing.T, between func()) {
	t.Helper()
	w.settle(t)
	w.home.do(t, func() error { return w.home.device.Close() })
	between()
	w.home.tun, w.home.kept = w.home.kept, nil
	w.home.open(t)
	w.home.apply(t)
}

// keepTUN has a service manager keep home's interface, until the test ends.
func (w *world) keepTUN(t *testing.T) {
	t.Helper()
	w.home.keeping = true
	t.Cleanup(func() {
		if w.home.kept != nil {
			_ = w.home.kept.Close()
		}
	})
}

// link is what the kernel says of home's interface: index, flags, addresses.
func (w *world) link(t *testing.T) string {
	t.Helper()
	return run(t, w.home.ns, "", "ip", "-o", "addr", "show", "dev", tunnelName) + run(t, w.home.ns, "", "ip", "-o", "link", "show", "dev", tunnelName)
}

func TestAnInheritedInterfaceIsAdopted(t *testing.T) {
	w := newWorld(t)
	w.keepTUN(t)
	w.up(t)
	w.gate.serve(t)
	c := w.home.dial(t, "10.99.0.1")
	echo(t, c)
	changes := w.watchCarrier(t)
	for range 3 {
		before := w.link(t)
		if !strings.Contains(before, "LOWER_UP") {
			t.Fatalf("no carrier:\n%s", before)
		}
		w.restart(t, func() {
			if got := w.link(t); got != before {
				t.Errorf("without a process the interface is\n%swas\n%s", got, before)
			}
		})
		if got := w.link(t); got != before {
			t.Errorf("the interface is\n%swas\n%s", got, before)
		}
		if took := echo(t, c); took > 3*time.Second {
			t.Errorf("the connection went on only after %v", took)
		}
		if w.home.kept == nil {
			t.Fatal("the adopted interface is not kept for the next process")
		}
	}
	if n := changes(); n != 0 {
		t.Errorf("the carrier has changed %d times", n)
	}
	if log := w.home.log.String(); strings.Contains(log, "no use") {
		t.Errorf("logged:\n%s", log)
	}
}

// watchCarrier returns a function that tells how often the carrier of home's
// interface has changed since.
func (w *world) watchCarrier(t *testing.T) func() int {
	t.Helper()
	count := func() int {
		// ip(8) gives the program a /sys of the namespace.
		text := run(t, w.home.ns, "", "ip", "netns", "exec", w.home.ns.Name, "cat", "/sys/class/net/"+tunnelName+"/carrier_changes")
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	return func() int { return count() - before }
}

// What home sends while it restarts waits in the interface, and leaves once
// the session stands.
func TestWhatIsSentMeanwhileArrives(t *testing.T) {
	w := newWorld(t)
	w.keepTUN(t)
	w.up(t)
	var at net.PacketConn
	w.gate.do(t, func() (err error) {
		at, err = net.ListenPacket("udp", "10.99.0.1:7001")
		return err
	})
	defer at.Close()
	var c net.Conn
	w.home.do(t, func() (err error) {
		c, err = net.Dial("udp", "10.99.0.1:7001")
		return err
	})
	defer c.Close()
	send := func(word string) {
		if _, err := c.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() string {
		word := make([]byte, 100)
		_ = at.SetReadDeadline(time.Now().Add(patience))
		n, _, err := at.ReadFrom(word)
		if err != nil {
			t.Fatal(err)
		}
		return string(word[:n])
	}
	send("before")
	if got := receive(); got != "before" {
		t.Fatalf("received %q", got)
	}
	w.restart(t, func() { send("meanwhile") })
	if got := receive(); got != "meanwhile" {
		t.Errorf("received %q", got)
	}
}

func TestAStaleInheritanceIsIgnored(t *testing.T) {
	for what, make := range map[string]func(t *testing.T, w *world) *os.File{
		"another name": func(t *testing.T, w *world) *os.File { return openTUN(t, w.home, "gl9") },
		"deleted": func(t *testing.T, w *world) *os.File {
			f := openTUN(t, w.home, tunnelName)
			ip(t, w.home.ns, "link del "+tunnelName)
			return f
		},
		"no TUN interface": func(t *testing.T, w *world) *os.File {
			f, err := os.Open("/dev/null")
			if err != nil {
				t.Fatal(err)
			}
			return f
		},
		"closed": func(t *testing.T, w *world) *os.File {
			f := openTUN(t, w.home, "gl9")
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			return f
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			stale := make(t, w)
			w.home.tun = stale
			w.home.open(t)
			w.up(t)
			w.gate.serve(t)
			echo(t, w.home.dial(t, "10.99.0.1"))
			if _, err := stale.Stat(); err == nil {
				t.Error("the stale file is still open")
			}
			if log := w.home.log.String(); !strings.Contains(log, "of no use") {
				t.Errorf("logged:\n%s", log)
			}
		})
	}
}

// An inherited file goes with the device that never came to use it.
func TestAnUnusedInheritanceIsClosed(t *testing.T) {
	w := newWorld(t)
	file := openTUN(t, w.home, tunnelName)
	w.home.tun = file
	w.home.open(t)
	w.home.do(t, func() error { return w.home.device.Close() })
	if _, err := file.Stat(); err == nil {
		t.Error("it is still open")
	}
}

// openTUN opens a TUN interface with a file that blocks, as the service
// manager may hand it over.
func openTUN(t *testing.T, e *end, name string) *os.File {
	t.Helper()
	var file *os.File
	e.do(t, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), "inherited")
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	})
	t.Cleanup(func() { _ = file.Close() })
	return file
}
