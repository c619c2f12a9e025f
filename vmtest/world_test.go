//go:build vm

package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/machine"
)

// world is the small internet with its two virtual machines.
type world struct {
	lab    *lab.Lab
	names  *nameServer
	gate   *machine.Machine
	home   *machine.Machine
	device string // what the machines' tunnel is expected to be
	boot   machine.Boot
	figure string // of the scenario under way

	packages manager // by which the program is installed

	dir     string // of the machines' files
	payload string // the disk with what is brought to them
}

// manager is how a kind of package is installed, upgraded and removed.
type manager struct{ install, upgrade, remove string }

// Debian's own packages, and those of other distributions, by their own tool: it
// does not know what Debian's packages have brought already.
var (
	apt = manager{"apt-get install -y /payload/gatelodge.deb", "apt-get install -y /payload/next.deb", "apt-get remove -y gatelodge"}
	rpm = manager{"rpm --install --nodeps /payload/gatelodge.rpm", "rpm --upgrade --nodeps /payload/next.rpm", "rpm --erase gatelodge"}
)

// By these the image knows which machine it is.
const (
	gateMAC = "52:54:00:00:00:01"
	homeMAC = "52:54:00:00:00:02"
)

// patience is how long anything may take that must happen: these machines are
// some twenty times slower than real ones.
const patience = 90 * time.Second

// newWorld starts both machines with new disks. The folders are brought to the
// machines, into /payload.
func newWorld(t *testing.T, device string, boot machine.Boot, folders ...string) *world {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	l, err := lab.New(t.Context(), lab.Options{Binary: self, Machines: []string{"gate", "home"}})
	must(t, err)
	t.Cleanup(func() { check(t, l.Close()) })
	w := &world{lab: l, device: device, boot: boot, packages: apt}
	w.names = startNames(t, l.Host("internet"))
	image, err := machine.Build(t.Context(), os.Stderr)
	must(t, err)
	w.dir = t.TempDir()
	w.payload = makePayload(t, self, w.dir, folders)
	w.gate = w.newMachine(t, image, w.dir, "gate", gateMAC)
	w.home = w.newMachine(t, image, w.dir, "home", homeMAC)
	for _, m := range w.machines() {
		must(t, m.Start(boot))
	}
	for _, m := range w.machines() {
		w.await(t, m)
	}
	return w
}

func (w *world) machines() []*machine.Machine { return []*machine.Machine{w.gate, w.home} }

// makePayload makes the disk with what is brought to the machines.
func makePayload(t *testing.T, self, dir string, folders []string) string {
	t.Helper()
	folder := filepath.Join(dir, "payload")
	must(t, os.Mkdir(folder, 0o755))
	for name, from := range map[string]string{serviceName: self, "gatelodge.deb": *packageFile, "next.deb": *nextPackage, "dump": "testdata/dump", "other-init": "testdata/other-init"} {
		copyFile(t, from, filepath.Join(folder, name))
	}
	if *more {
		copyFile(t, strings.TrimSuffix(*packageFile, ".deb")+".rpm", filepath.Join(folder, "gatelodge.rpm"))
		copyFile(t, strings.TrimSuffix(*nextPackage, ".deb")+".rpm", filepath.Join(folder, "next.rpm"))
	}
	for _, f := range folders {
		must(t, os.CopyFS(folder, os.DirFS(f)))
	}
	disk := filepath.Join(dir, "payload.disk")
	must(t, machine.Payload(t.Context(), folder, disk))
	return disk
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, errors.Join(err, out.Close()))
}

func (w *world) newMachine(t *testing.T, image machine.Image, dir, name, mac string) *machine.Machine {
	t.Helper()
	beside, tap := w.lab.Socket(name)
	m, err := machine.New(t.Context(), machine.Options{
		Name: name, Image: image, Dir: dir, MAC: mac, Tap: tap, Disks: []string{w.payload},
		Start: func(c *exec.Cmd) error { return beside.Launch(c) },
	})
	must(t, err)
	t.Cleanup(func() {
		check(t, m.Close())
		keepLog(t, m)
	})
	return m
}

// keepLog leaves the console's log beside the report.
func keepLog(t *testing.T, m *machine.Machine) {
	name := strings.ReplaceAll(t.Name(), "/", "-") + "-" + m.Name + ".log"
	copyTo := filepath.Join(*output, name)
	check(t, os.RemoveAll(copyTo))
	text, err := os.ReadFile(m.Console())
	check(t, err)
	check(t, os.WriteFile(copyTo, text, 0o644))
	if t.Failed() {
		t.Logf("the console of %s: %s", m.Name, copyTo)
	}
}

// scenario runs one line of the suite's table.
func (w *world) scenario(t *testing.T, name, promises string, f func(t *testing.T)) {
	t.Helper()
	w.figure = ""
	start := time.Now()
	var how string
	t.Run(name, func(t *testing.T) {
		defer func() { how = result(t) }()
		f(t)
	})
	if how == "" {
		return // not among those that were asked for
	}
	rows = append(rows, row{name, promises, w.device, how, time.Since(start), w.figure})
}

// await waits until a machine has started and its network is up.
func (w *world) await(t *testing.T, m *machine.Machine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	must(t, m.Await(ctx))
}

// on runs a script on a machine; it must succeed.
func (w *world) on(t *testing.T, m *machine.Machine, script string, args ...any) string {
	t.Helper()
	out, err := w.try(t, m, script, args...)
	must(t, err)
	return out
}

// statusJSON has a daemon say how it stands, however well that is: the exit code
// tells, and there is a report with each of these.
const statusJSON = "gatelodge status --json || case $? in 1|5) ;; *) exit 1 ;; esac"

// both runs a script on both machines at once, and returns what they said.
func (w *world) both(t *testing.T, script string) map[string]string {
	t.Helper()
	return w.bothWithin(t, 3*time.Minute, script)
}

// bothWithin is both, with a time of its own.
func (w *world) bothWithin(t *testing.T, limit time.Duration, script string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	said := make([]string, len(w.machines()))
	var group errgroup.Group
	for i, m := range w.machines() {
		group.Go(func() (err error) {
			said[i], err = m.Shell(ctx, script)
			return err
		})
	}
	must(t, group.Wait())
	all := map[string]string{}
	for i, m := range w.machines() {
		all[m.Name] = said[i]
	}
	return all
}

// try runs a script on a machine.
func (w *world) try(t *testing.T, m *machine.Machine, script string, args ...any) (string, error) {
	t.Helper()
	if len(args) > 0 {
		script = fmt.Sprintf(script, args...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := m.Shell(ctx, script)
	return strings.TrimSpace(out), err
}

// refused runs a script that must fail, and returns what it said.
func (w *world) refused(t *testing.T, m *machine.Machine, script string, args ...any) string {
	t.Helper()
	_, err := w.try(t, m, script, args...)
	exit, ok := errors.AsType[*machine.ExitError](err)
	if !ok {
		t.Fatalf("on %s, %s: %v, but it must be refused", m.Name, script, err)
	}
	return exit.Stdout + exit.Stderr
}

// gateAt is a port of the gate, as visitors reach it.
func gateAt(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), port)
}

func gateAt6(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("2001:db8:a::1"), port)
}

// visitor waits until a visitor gets through to home, which sees the visitor's own
// address. It returns how long that took.
func (w *world) visitor(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	w.eventually(t, "a visitor gets through", func(ctx context.Context) error { return w.visit(ctx, gateAt(7000)) })
	return time.Since(start)
}

// visit is one visitor's try, over TCP.
func (w *world) visit(ctx context.Context, at netip.AddrPort) error {
	from := w.lab.Visitor()
	a, err := lab.ProbeTCP(ctx, from, at)
	if err != nil {
		return err
	}
	return seenAs(from, at, a)
}

// seenAs checks that the service saw the visitor's own address.
func seenAs(from *lab.Host, at netip.AddrPort, a lab.Answer) error {
	own := from.IPv4
	if at.Addr().Is6() {
		own = from.IPv6
	}
	if a.Host != "home" || a.Saw.Addr() != own {
		return fmt.Errorf("%s answered and saw %s; it should be home, and see %s", a.Host, a.Saw, own)
	}
	return nil
}

// eventually waits until something holds.
func (w *world) eventually(t *testing.T, what string, try func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
