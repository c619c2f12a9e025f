package crash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// Ports of the lab. The gate has its ssh server on portSSH, and somebody
// else's service on portClosed, which a gate that stands closes.
const (
	portSSH    = 2222
	portClosed = 9999
	portEcho   = 7000
	portSecond = 7001
)

// The hosts that can crash.
const (
	gate = "gate"
	home = "home"
)

// foreign is what others have on the gate; some looks much like ours.
const foreign = `
table inet theirs {
	chain input {
		type filter hook input priority 10; policy accept;
		tcp dport 631 drop
	}
}
table ip gatelodge {
	set named_like_ours { type ipv4_addr; elements = { 192.0.2.7 }; }
}
`

const foreignRoutes = `
route add blackhole 192.0.2.128/25 table 99
rule add pref 5301 fwmark 0x10000000/0xf0000000 lookup 99
rule add pref 90 lookup 77 protocol 3
`

// world is the lab, with what every point in it begins from.
type world struct {
	*lab.Lab
	program string
	self    string // this test, for its short programs
	orders  string // the folder of package step
	// saved are copies of the hosts' roots, by their names.
	saved  string
	invite string // that home has used in "joined" and not yet in "invited"
	// clean and settings are what the hosts had before us, by their names: what
	// must never change, and all settings.
	clean, settings map[string]string
	// tables are ours after each of the short programs.
	tables map[string]string
}

// newWorld makes the lab, joins gate and home, and takes both down again.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{program: buildProgram(t), orders: t.TempDir(), saved: t.TempDir(), clean: map[string]string{}, settings: map[string]string{}}
	var err error
	w.Lab, err = lab.New(t.Context(), lab.Options{Binary: w.program, Env: []string{"GATELODGE_STEPS=" + w.orders}})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, h := range []*lab.Host{w.Gate(), w.Home()} {
				t.Logf("log of %s:\n%s", h.Name, strings.Join(h.LogTail(30), "\n"))
			}
		}
		must(t, w.Close())
	})
	must(t, w.Gate().ServeTCP(portClosed, func(c net.Conn) { lab.EchoTCP(c, "somebody") }))
	w.text(t, w.Gate(), foreign, "nft", "-f", "-")
	w.text(t, w.Gate(), foreignRoutes, "ip", "-batch", "-")
	w.text(t, w.Gate(), "0", "cat >/proc/sys/net/ipv4/conf/all/accept_redirects") // as many have hardened it
	for _, h := range []*lab.Host{w.Gate(), w.Home()} {
		w.clean[h.Name], w.settings[h.Name] = w.foreign(t, h), settings(t, h, counting)
	}
	w.settle(t)
	return w
}

// settle does what the owners do, and keeps what their machines then remember.
func (w *world) settle(t *testing.T) {
	t.Helper()
	must(t, w.InitGate(t.Context()))
	w.keep(t, "fresh", w.Gate())
	out, err := w.Gate().Gatelodge(t.Context(), "gate", "invite", home)
	must(t, err)
	w.invite = strings.TrimSpace(out)
	w.keep(t, "invited", w.Gate(), w.Home())
	_, err = w.Home().Gatelodge(t.Context(), "join", w.invite, "--no-start")
	must(t, err)
	must(t, w.Home().Start())
	must(t, w.Home().Ready(t.Context()))
	must(t, w.Home().Expose(t.Context(), "7000", "--name", "echo"))
	w.reachable(t, portEcho)
	w.keep(t, "joined", w.Gate(), w.Home())
	w.down(t, w.Gate())
	w.down(t, w.Home())
}

// text hands text to a program on a host.
func (w *world) text(t *testing.T, h *lab.Host, text string, program ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "text")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	_, err := h.Run(t.Context(), "sh", "-c", strings.Join(program, " ")+" <"+file)
	must(t, err)
}

// lasting are the folders of a host that a reboot does not empty.
var lasting = []string{"etc", "var"}

// keep copies what hosts remember, less what lives in memory.
func (w *world) keep(t *testing.T, name string, hosts ...*lab.Host) {
	t.Helper()
	for _, h := range hosts {
		for _, folder := range lasting {
			from := filepath.Join(h.Root(), folder)
			if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			must(t, os.CopyFS(filepath.Join(w.saved, name, h.Name, folder), os.DirFS(from)))
		}
	}
}

// restore gives hosts without a daemon what was kept under that name. What
// they have in memory, the undo journal, stays with the machine.
func (w *world) restore(t *testing.T, name string, hosts ...*lab.Host) {
	t.Helper()
	for _, h := range hosts {
		must(t, h.Kill())
		for _, folder := range lasting {
			must(t, os.RemoveAll(filepath.Join(h.Root(), folder)))
		}
		from := filepath.Join(w.saved, name, h.Name)
		if _, err := os.Stat(from); err == nil {
			must(t, os.CopyFS(h.Root(), os.DirFS(from)))
		}
		state := filepath.Join(h.Root(), "var/lib/gatelodge")
		if err := os.Chmod(state, 0o700); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// down takes a host down and ends its daemon.
func (w *world) down(t *testing.T, h *lab.Host) {
	t.Helper()
	_, err := h.Gatelodge(t.Context(), "down")
	must(t, err)
	must(t, h.Kill())
	if got := w.foreign(t, h); got != w.clean[h.Name] {
		t.Errorf("down leaves %s changed:\n%s", h.Name, difference(w.clean[h.Name], got))
	}
	if got := settings(t, h, counting); got != w.settings[h.Name] {
		t.Errorf("down leaves settings of %s changed:\n%s", h.Name, difference(w.settings[h.Name], got))
	}
	if got := ours(t, h); got != "" {
		t.Errorf("down leaves on %s:\n%s", h.Name, got)
	}
}

// up starts the daemon of a host, unless it runs, and waits until it does its
// work.
func (w *world) up(t *testing.T, h *lab.Host) {
	t.Helper()
	if h.PID() == 0 {
		must(t, h.Kill()) // forget the dead one
		must(t, h.Start())
	}
	must(t, h.Ready(t.Context()))
}

// eventually waits for a condition. What comes back by itself does within
// seconds, and much more on a machine that is busy.
func eventually(t *testing.T, what string, try func(ctx context.Context) error) {
	t.Helper()
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

// reachable waits until a visitor reaches a published port.
func (w *world) reachable(t *testing.T, port uint16) {
	t.Helper()
	at := netip.AddrPortFrom(w.Gate().IPv4, port)
	eventually(t, "a visitor at "+at.String(), func(ctx context.Context) error {
		a, err := lab.ProbeTCP(ctx, w.Visitor(), at)
		if err == nil && a.Saw.Addr() != w.Visitor().IPv4 {
			err = fmt.Errorf("the service saw %s", a.Saw)
		}
		return err
	})
}
