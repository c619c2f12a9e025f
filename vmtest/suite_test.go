//go:build vm

package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/machine"
)

// TestKernel runs everything with the kernel's WireGuard.
func TestKernel(t *testing.T) {
	w := newWorld(t, "kernel", machine.Boot{})
	before := w.dumps(t)
	w.mainJob(t)
	w.scenario(t, "hardened unit", "46", w.hardened)
	w.scenario(t, "keys stay where they are", "16", w.keys)
	w.scenario(t, "daemon killed", "6, 32", w.killed)
	w.scenario(t, "daemon hangs", "6", w.hangs)
	w.scenario(t, "upgrade under traffic", "6", func(t *testing.T) { w.upgrade(t, 0, 0) })
	w.scenario(t, "networkd restarted, rules deleted", "28", w.networkd)
	w.scenario(t, "interface renamed", "28", w.renamed)
	w.scenario(t, "tunnel's interface deleted", "28", w.linkDeleted)
	w.scenario(t, "disk full", "31", w.diskFull)
	w.scenario(t, "root read-only", "31", w.readOnly)
	w.scenario(t, "gate reboots, a policy on trial", "2, 19", func(t *testing.T) { w.onTrial(t, func() { w.reboot(t, w.gate) }) })
	w.scenario(t, "home reboots", "20", func(t *testing.T) { w.reboot(t, w.home) })
	w.scenario(t, "gate's power cut, a policy on trial", "2, 19, 22", func(t *testing.T) { w.onTrial(t, func() { w.powerCut(t, w.gate) }) })
	if *reboots > 1 { // once is part of what follows
		w.scenario(t, "home's power cut", "20, 22", func(t *testing.T) { w.powerCut(t, w.home) })
	}
	w.scenario(t, "home's power cut while it saves, boots without DNS, in 1970", "20, 21, 22", w.bootInThePast)
	w.scenario(t, "memory", "30", w.memory)
	w.scenario(t, "purge leaves nothing", "7", func(t *testing.T) { w.purge(t, before) })
	w.overSSH(t, before)
}

// TestEmbedded runs the main job, and what the device makes a difference to,
// on kernels whose WireGuard module does not load.
func TestEmbedded(t *testing.T) {
	w := newWorld(t, "embedded", machine.Boot{Kernel: "modprobe.blacklist=wireguard"})
	before := w.dumps(t)
	w.mainJob(t)
	w.scenario(t, "hardened unit", "46", w.hardened)
	w.scenario(t, "daemon killed", "6, 32", w.killed)
	w.scenario(t, "upgrade under traffic", "6", func(t *testing.T) { w.upgrade(t, -1, emulated(2*time.Second)) })
	w.scenario(t, "tunnel's interface deleted", "28", w.linkDeleted)
	w.scenario(t, "gate's power cut", "19, 22", func(t *testing.T) { w.powerCut(t, w.gate) })
	w.scenario(t, "home's power cut while it saves, boots without DNS, in 1970", "20, 21, 22", w.bootInThePast)
	w.scenario(t, "memory", "30", w.memory)
	w.scenario(t, "module appears later", "29", w.moduleAppears)
	w.scenario(t, "purge leaves nothing", "7", func(t *testing.T) { w.purge(t, before) })
}

// mainJob is README's way on own machines: two packages, three commands.
func (w *world) mainJob(t *testing.T) {
	w.scenario(t, "install the package", "", w.install)
	w.scenario(t, "main job", "1, 45", func(t *testing.T) {
		start := time.Now()
		w.on(t, w.gate, "gatelodge gate init --yes --endpoint %s", gateName)
		w.keepsItsPolicy(t)
		invite := w.on(t, w.gate, "gatelodge gate invite attic")
		w.on(t, w.home, "gatelodge join %s", invite)
		w.on(t, w.home, "gatelodge expose 443; gatelodge expose 7000 --name echo; gatelodge expose 7001 --name masked --source masquerade")
		w.visitor(t)
		w.figure = fmt.Sprintf("gate init … first visitor %.1f s", time.Since(start).Seconds())
		w.addresses(t)
		for _, m := range w.machines() {
			if got := w.on(t, m, statusJSON); !strings.Contains(got, `"`+w.device+`"`) {
				t.Errorf("the device of %s should be the %s one: %s", m.Name, w.device, got)
			}
			w.on(t, m, "systemctl is-enabled gatelodge; systemctl is-active gatelodge")
		}
	})
	if t.Failed() {
		t.FailNow() // nothing of what follows would tell more
	}
}

func (w *world) install(t *testing.T) {
	w.both(t, w.packages.install+" >/dev/null; gatelodge --version; ls /usr/share/man/man1/gatelodge.1.gz")
	for _, m := range w.machines() {
		if got, _ := w.try(t, m, "systemctl is-active gatelodge"); got == "active" {
			t.Errorf("%s: the service runs before anybody has said what the machine is", m.Name)
		}
	}
}

// addresses checks both protocols and families: what visitors reach, and that
// the service sees their own addresses.
func (w *world) addresses(t *testing.T) {
	t.Helper()
	visitor := w.lab.Visitor()
	for _, at := range []netip.AddrPort{gateAt(443), gateAt(7000), gateAt6(443), gateAt6(7000)} {
		for name, probe := range map[string]func(context.Context, *lab.Host, netip.AddrPort) (lab.Answer, error){"tcp": lab.ProbeTCP, "udp": lab.ProbeUDP} {
			a, err := probe(t.Context(), visitor, at)
			if err == nil {
				err = seenAs(visitor, at, a)
			}
			if err != nil {
				t.Errorf("%s %s: %v", at, name, err)
			}
		}
	}
	if a, err := lab.ProbeTCP(t.Context(), visitor, gateAt(7001)); err != nil || a.Saw.Addr() == visitor.IPv4 {
		t.Errorf("masqueraded: %v, %v", a, err)
	}
	if err := lab.ProbeSilence(t.Context(), visitor, forward.TCP, gateAt(7002), time.Second); err != nil {
		t.Errorf("a port that is not published: %v", err)
	}
	for _, port := range []uint16{22, 2222} {
		if err := sshAnswers(t.Context(), visitor, port); err != nil {
			t.Errorf("ssh of the gate, port %d: %v", port, err)
		}
	}
}

// keepsItsPolicy is what the owner of a gate does after gate init: open a new
// ssh session.
func (w *world) keepsItsPolicy(t *testing.T) {
	t.Helper()
	w.eventually(t, "the gate keeps its input policy", func(ctx context.Context) error {
		if err := sshAnswers(ctx, w.lab.Visitor(), 22); err != nil {
			return err
		}
		if got := w.on(t, w.gate, statusJSON); !strings.Contains(got, `"state": "kept"`) {
			return errors.New("it is not kept yet")
		}
		return nil
	})
}

// sshAnswers makes a new connection to the gate's sshd, up to its
// identification (RFC 4253, section 4.2).
func sshAnswers(ctx context.Context, from *lab.Host, port uint16) error {
	limit := emulated(3 * time.Second)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", gateAt(port).String())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	said := make([]byte, len("SSH-2.0-OpenSSH"))
	if _, err := io.ReadFull(c, said); err != nil || string(said) != "SSH-2.0-OpenSSH" {
		return fmt.Errorf("it said %q: %w", said, err)
	}
	return nil
}

// hardened looks at the unit as it runs.
func (w *world) hardened(t *testing.T) {
	for _, m := range w.machines() {
		text := w.on(t, m, "systemd-analyze security --no-pager gatelodge.service | tail -1")
		found := regexp.MustCompile(`: (\d+\.\d)`).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("no exposure in %q", text)
		}
		if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > 2.0 {
			t.Errorf("%s: exposure %s, should be at most 2.0", m.Name, found[1])
		}
		w.figure = "exposure " + found[1]
		status := w.on(t, m, "cat /proc/$(systemctl show -P MainPID gatelodge)/status")
		const netAdmin = "0000000000001000"
		for _, want := range []string{"CapBnd:\t" + netAdmin, "CapEff:\t" + netAdmin, "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(status, want) {
				t.Errorf("%s: the daemon's status lacks %q", m.Name, want)
			}
		}
		if strings.Contains(status, "Uid:\t0") {
			t.Errorf("%s: the daemon runs as root", m.Name)
		}
	}
}

// keys looks for them with the eyes of another user, and in all that is
// written down.
func (w *world) keys(t *testing.T) {
	for _, m := range w.machines() {
		for _, try := range []string{
			"ls /var/lib/gatelodge", "cat /var/lib/gatelodge/*.json", "ls /run/gatelodge",
			"cat /proc/$(systemctl show -P MainPID gatelodge)/environ", "gatelodge status",
		} {
			w.refused(t, m, "setpriv --reuid=65534 --clear-groups sh -c '%s'", try)
		}
		// The key itself must be in its file, and nowhere else.
		out := w.on(t, m, `
key=$(grep -ho '"private_key": *"[^"]*"' /var/lib/gatelodge/*.json | head -1 | sed 's/.*: *"//; s/"$//')
[ ${#key} = 44 ]
pid=$(systemctl show -P MainPID gatelodge)
for f in /proc/$pid/environ /proc/$pid/cmdline /etc/gatelodge/*.toml; do ! grep -qF "$key" $f || echo "in $f"; done
! journalctl -u gatelodge --no-pager -o export | grep -qF "$key" || echo "in the journal"
! gatelodge status --json | grep -qF "$key" || echo "in status"
grep "Max core file size *0 *0" /proc/$pid/limits >/dev/null || echo "core dumps are on"
stat -c '%a %U %n' /var/lib/gatelodge /var/lib/gatelodge/*.json | grep -vE '^(700|600) gatelodge' || true`)
		if out != "" {
			t.Errorf("%s: %s", m.Name, out)
		}
	}
}

// emulated is how long something may take here that may take d on a real
// machine: these are some twenty times slower at starting a program, and most
// of what is measured is that.
func emulated(d time.Duration) time.Duration { return 3 * d }

// killed kills the daemons again and again, under a stream of packets and a
// connection that lasts.
func (w *world) killed(t *testing.T) {
	const kills = 4
	c := w.connect(t, 7000)
	s := w.newStream(t, 7000)
	for range kills {
		for _, m := range w.machines() {
			w.on(t, m, `
before=$(systemctl show -P MainPID gatelodge)
kill -9 $before
until now=$(systemctl show -P MainPID gatelodge); [ $now != 0 ] && [ $now != $before ] && systemctl is-active -q gatelodge; do sleep 0.1; done`)
			w.visitor(t)
		}
	}
	c.alive(t)
	sent, lost, gap := s.end(t)
	w.figure = fmt.Sprintf("%d kills: %d of %d packets lost, longest gap %.1f s", 2*kills, lost, sent, gap.Seconds())
	if w.device == "kernel" && lost > 0 {
		t.Errorf("%d of %d packets lost; with the kernel's device none should be", lost, sent)
	}
	// A second of that is systemd's, between two starts.
	if gap > emulated(3*time.Second) {
		t.Errorf("no packet came through for %s", gap)
	}
	for _, m := range w.machines() {
		if got := w.on(t, m, "systemctl show -P Result gatelodge"); got != "success" {
			t.Errorf("%s: the unit's result is %s", m.Name, got)
		}
	}
}

// hangs stops the gate's daemon; the watchdog must notice.
func (w *world) hangs(t *testing.T) {
	s := w.newStream(t, 7000)
	w.on(t, w.gate, `
before=$(systemctl show -P MainPID gatelodge)
kill -STOP $before
until now=$(systemctl show -P MainPID gatelodge); [ $now != 0 ] && [ $now != $before ] && systemctl is-active -q gatelodge; do sleep 0.5; done
journalctl -u gatelodge --no-pager | grep -qi watchdog`)
	sent, lost, _ := s.end(t)
	w.figure = fmt.Sprintf("%d of %d packets lost", lost, sent)
	if lost > 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	w.visitor(t)
}

// upgrade installs the next version on both sides under traffic. With loss < 0
// only the longest gap is bounded.
func (w *world) upgrade(t *testing.T, loss int, longest time.Duration) {
	c := w.connect(t, 7000)
	s := w.newStream(t, 7000)
	for _, m := range w.machines() {
		before := w.on(t, m, "gatelodge --version")
		w.on(t, m, w.packages.upgrade+" >/dev/null; systemctl is-active gatelodge")
		if after := w.on(t, m, "gatelodge --version"); after == before {
			t.Errorf("%s: still %s", m.Name, after)
		}
	}
	w.visitor(t)
	c.alive(t)
	sent, lost, gap := s.end(t)
	w.figure = fmt.Sprintf("%d of %d packets lost, longest gap %.2f s", lost, sent, gap.Seconds())
	if loss >= 0 && lost > loss {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	if longest > 0 && gap > longest {
		t.Errorf("no packet came through for %s, at most %s is allowed", gap, longest)
	}
}

// timed runs a change on a machine, waits until a condition holds again, and
// returns how long that took by the machine's own clock.
func (w *world) timed(t *testing.T, m *machine.Machine, change, until string) time.Duration {
	t.Helper()
	out := w.on(t, m, "%s\nstart=$(cut -d' ' -f1 /proc/uptime)\nuntil %s; do :; done\nend=$(cut -d' ' -f1 /proc/uptime)\necho $start $end", change, until)
	var from, to float64
	if _, err := fmt.Sscan(out, &from, &to); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return time.Duration((to - from) * float64(time.Second))
}

// networkd restarts systemd-networkd, and deletes our rules, table and routes.
func (w *world) networkd(t *testing.T) {
	for _, m := range w.machines() {
		w.on(t, m, "networkctl reload; systemctl restart systemd-networkd")
	}
	w.visitor(t)
	if rules := w.on(t, w.home, "ip rule | grep -c 'proto 155'"); rules == "0" {
		t.Error("home's rules are gone")
	}
	var worst time.Duration
	for _, c := range []struct {
		m             *machine.Machine
		change, until string
	}{
		{w.home, "ip rule del pref 102", "ip rule | grep -q ^102:"},
		{w.home, "ip route flush table 6700", "ip route show table 6700 2>/dev/null | grep -q default"},
		{w.home, "nft flush ruleset", "nft list table inet gatelodge 2>/dev/null | grep -q chain"},
		{w.gate, "nft flush ruleset", "nft list table inet gatelodge 2>/dev/null | grep -q chain"},
		{w.gate, "nft delete table inet gatelodge", "nft list table inet gatelodge 2>/dev/null | grep -q chain"},
	} {
		took := w.timed(t, c.m, c.change, c.until)
		worst = max(worst, took)
		if took > emulated(time.Second) {
			t.Errorf("%s: %s: back after %s", c.m.Name, c.change, took)
		}
	}
	w.figure = fmt.Sprintf("back after %.2f s at most", worst.Seconds())
	w.visitor(t)
	w.guardStays(t)
	w.visitor(t)
}

// guardStays checks that the tunnel stays shut while nobody restores the rules:
// the guard outlives a flush of the ruleset, and with systemd's help its daemon.
func (w *world) guardStays(t *testing.T) {
	t.Helper()
	for _, m := range w.machines() {
		for _, change := range []string{"nft flush ruleset", "systemctl kill -s KILL gatelodge; nft flush ruleset"} {
			if got := w.on(t, m, change+"; nft list tables"); !strings.Contains(got, "table inet gatelodge.guard") {
				t.Errorf("%s: after %s, there is no guard: %q", m.Name, change, got)
			}
		}
		w.eventually(t, "the daemon has its rules back", func(ctx context.Context) error {
			_, err := m.Shell(ctx, "nft list table inet gatelodge | grep -q chain")
			return err
		})
	}
}

// renamed gives the interface to the network another name.
func (w *world) renamed(t *testing.T) {
	for _, m := range w.machines() {
		w.on(t, m, "ip link set eth0 down; ip link set eth0 name ens5; ip link set ens5 up")
	}
	took := w.visitor(t)
	w.figure = fmt.Sprintf("visitor after %.1f s", took.Seconds())
	for _, m := range w.machines() {
		w.on(t, m, "ip link set ens5 down; ip link set ens5 name eth0; ip link set eth0 up")
	}
	w.visitor(t)
	// An IPv6 address is not used before the network was asked for another
	// machine with it (RFC 4862, section 5.4).
	w.eventually(t, "a visitor gets through over IPv6", func(ctx context.Context) error { return w.visit(ctx, gateAt6(7000)) })
	w.addresses(t)
}

// linkDeleted deletes the tunnel's interface.
func (w *world) linkDeleted(t *testing.T) {
	var figures []string
	for _, m := range w.machines() {
		took := w.timed(t, m, "ip link del gatelodge", "ip link show gatelodge >/dev/null 2>&1")
		if took > emulated(time.Second) {
			t.Errorf("%s: back after %s", m.Name, took)
		}
		visitor := w.visitor(t)
		figures = append(figures, fmt.Sprintf("%s: back after %.2f s, visitor after %.1f s", m.Name, took.Seconds(), visitor.Seconds()))
	}
	w.figure = strings.Join(figures, "; ")
}

// diskFull fills the disk of each side in turn.
func (w *world) diskFull(t *testing.T) {
	for _, m := range w.machines() {
		t.Run(m.Name, func(t *testing.T) {
			w.on(t, m, "fallocate -l $(df -B1 --output=avail / | tail -1) /filling || true; while head -c 4096 /dev/zero >>/filling; do :; done 2>/dev/null; sync")
			defer w.on(t, m, "rm /filling; sync")
			w.keepsWorking(t, "full", "space")
		})
		w.on(t, w.home, "gatelodge expose 7002 --name late; gatelodge unexpose late")
	}
	w.visitor(t)
}

// readOnly makes the root file system read-only, as after a disk error.
func (w *world) readOnly(t *testing.T) {
	for _, m := range w.machines() {
		t.Run(m.Name, func(t *testing.T) {
			w.on(t, m, "sync; echo 1 >/proc/sys/kernel/sysrq; echo u >/proc/sysrq-trigger; until grep -q ' / ext4 ro' /proc/mounts; do sleep 0.1; done")
			defer w.on(t, m, "mount -o remount,rw /")
			w.keepsWorking(t, "read-only")
		})
		w.on(t, w.home, "gatelodge expose 7002 --name late; gatelodge unexpose late")
	}
	w.visitor(t)
}

// keepsWorking checks that what stands goes on, and that a change is refused
// for one of the given reasons, wholly.
func (w *world) keepsWorking(t *testing.T, reasons ...string) {
	t.Helper()
	w.visitor(t)
	said := w.refused(t, w.home, "gatelodge expose 7002 --name late")
	if !slices.ContainsFunc(reasons, func(r string) bool { return strings.Contains(said, r) }) {
		t.Errorf("the refusal should say %v; it says: %s", reasons, said)
	}
	if list := w.on(t, w.home, "cat /etc/gatelodge/home.toml"); strings.Contains(list, "late") {
		t.Error("home.toml names a forward that was refused")
	}
	w.visitor(t)
}

// reboot restarts a side in order, as often as asked.
func (w *world) reboot(t *testing.T, m *machine.Machine) {
	w.again(t, m, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		must(t, m.Reboot(ctx))
	})
}

// powerCut cuts a side's power, as often as asked.
func (w *world) powerCut(t *testing.T, m *machine.Machine) {
	w.again(t, m, func() {
		must(t, m.PowerCut())
		must(t, m.Start(w.boot))
		w.await(t, m)
	})
}

// again makes a side start again, and measures how long after the start of its
// kernel visitors get through.
func (w *world) again(t *testing.T, m *machine.Machine, restart func()) {
	t.Helper()
	var up, network []float64
	for range *reboots {
		restart()
		w.visitor(t)
		up = append(up, seconds(t, w.on(t, m, "cut -d' ' -f1 /proc/uptime")))
		online := w.on(t, m, "systemctl show -P ActiveEnterTimestampMonotonic network.target")
		network = append(network, up[len(up)-1]-seconds(t, online)/1e6)
		if got := w.on(t, m, "systemctl show -P NRestarts gatelodge"); got != "0" {
			t.Errorf("the service of %s was restarted %s times since the machine started", m.Name, got)
		}
	}
	w.figure = fmt.Sprintf("visitor %s s after boot, %s s after the network", spread(up), spread(network))
}

func seconds(t *testing.T, text string) float64 {
	t.Helper()
	s, err := strconv.ParseFloat(text, 64)
	must(t, err)
	return s
}

// bootInThePast cuts home's power while it saves, and starts it with nothing
// ready: no name server, a clock that has never been set.
func (w *world) bootInThePast(t *testing.T) {
	must(t, w.home.Send("/bin/sh", "-c", "while :; do gatelodge expose 7002 --name late; gatelodge unexpose late; done"))
	time.Sleep(4 * time.Second) // long enough for some of either
	must(t, w.home.PowerCut())
	w.names.silent.Store(true)
	defer w.names.silent.Store(false)
	past := w.boot
	past.Clock = time.Unix(0, 0)
	must(t, w.home.Start(past))
	w.await(t, w.home)
	start := time.Now()
	w.visitor(t)
	behind := time.Since(time.Unix(int64(seconds(t, w.on(t, w.home, "date +%s"))), 0))
	w.figure = fmt.Sprintf("clock %.0f days behind; visitor %s s after boot, %.1f s after the agent", behind.Hours()/24, w.on(t, w.home, "cut -d' ' -f1 /proc/uptime"), time.Since(start).Seconds())
	if behind < 24*time.Hour {
		t.Errorf("home's clock is only %s behind: this has tried nothing", behind)
	}
	// systemd does not start with less than the date of its own release. With
	// the very first second, and a tunnel that has to start again:
	w.on(t, w.home, "date -s @86400 >/dev/null; ip link del gatelodge")
	w.figure += fmt.Sprintf("; in 1970, %.1f s after the tunnel's interface was deleted", w.visitor(t).Seconds())
	if got := w.on(t, w.home, "systemctl show -P NRestarts -P Result gatelodge"); got != "0\nsuccess" && got != "success\n0" {
		t.Errorf("home's service: restarts and result %q", got)
	}
	w.on(t, w.home, "date -s @%d >/dev/null", time.Now().Unix())
	w.on(t, w.home, "gatelodge check; gatelodge unexpose late >/dev/null 2>&1 || true")
	if out := w.on(t, w.home, "ls /var/lib/gatelodge"); strings.Contains(out, "damaged") {
		w.figure += "; a file was damaged, and its copy used"
	}
}

// memory looks at what the daemons need, after all that has happened to them.
// The embedded device is let have as much as the runtime is told to stay in.
func (w *world) memory(t *testing.T) {
	mostKiB := 40 << 10
	if w.device == "embedded" {
		mostKiB = 64 << 10
	}
	var figures []string
	for _, m := range w.machines() {
		rss, err := strconv.Atoi(w.on(t, m, "awk '/^VmRSS/ {print $2}' /proc/$(systemctl show -P MainPID gatelodge)/status"))
		must(t, err)
		figures = append(figures, fmt.Sprintf("%s %.1f MiB", m.Name, float64(rss)/1024))
		if rss > mostKiB {
			t.Errorf("%s: the daemon has %d KiB, at most %d are allowed", m.Name, rss, mostKiB)
		}
	}
	w.figure = strings.Join(figures, ", ")
}

// moduleAppears loads the module while the embedded device works.
func (w *world) moduleAppears(t *testing.T) {
	for _, m := range w.machines() {
		w.on(t, m, "modprobe wireguard")
	}
	w.visitor(t)
	if got := w.on(t, w.gate, statusJSON); !strings.Contains(got, `"embedded"`) {
		t.Errorf("the device has changed by itself: %s", got)
	}
	w.says(t, w.gate, "embedded-device")
	for _, m := range w.machines() {
		w.on(t, m, "systemctl restart gatelodge")
	}
	w.visitor(t)
	for _, m := range w.machines() {
		if got := w.on(t, m, statusJSON); !strings.Contains(got, `"kernel"`) {
			t.Errorf("%s: the device should be the kernel's now: %s", m.Name, got)
		}
	}
}

// dumps writes down both machines. What only comes with a kernel module is
// made to be there already: modules stay loaded.
func (w *world) dumps(t *testing.T) map[string]string {
	t.Helper()
	w.both(t, "modprobe nf_conntrack; modprobe tun; systemctl is-system-running --wait || true")
	return w.both(t, "/payload/dump")
}

// purge removes the package, and then all of it.
func (w *world) purge(t *testing.T, before map[string]string) {
	w.removed(t)
	w.both(t, "apt-get purge -y gatelodge >/dev/null")
	w.same(t, before)
}

// removed takes the package away, which keeps configuration and keys.
func (w *world) removed(t *testing.T) {
	t.Helper()
	w.both(t, w.packages.remove+" >/dev/null; ls /etc/gatelodge/*.toml /var/lib/gatelodge/*.json >/dev/null; ! ip link show gatelodge 2>/dev/null; ! nft list table inet gatelodge 2>/dev/null")
}

// same compares the machines with what they were.
func (w *world) same(t *testing.T, before map[string]string) {
	t.Helper()
	all := w.dumps(t)
	for _, m := range w.machines() {
		after := all[m.Name]
		if after == before[m.Name] {
			continue
		}
		for name, text := range map[string]string{"before": before[m.Name], "after": after} {
			check(t, os.WriteFile(filepath.Join(*output, strings.ReplaceAll(t.Name(), "/", "-")+"-"+m.Name+"."+name), []byte(text), 0o644))
		}
		t.Errorf("%s is not as it was found:\n%s", m.Name, differences(before[m.Name], after))
	}
}

// differences lists the lines that only one of two texts has.
func differences(before, after string) string {
	var out []string
	only := func(mark, text, other string) {
		known := map[string]bool{}
		for _, l := range strings.Split(other, "\n") {
			known[l] = true
		}
		for _, l := range strings.Split(text, "\n") {
			if !known[l] {
				out = append(out, mark+l)
			}
		}
	}
	only("- ", before, after)
	only("+ ", after, before)
	return strings.Join(out[:min(len(out), 60)], "\n")
}

// spread is the median and the greatest of some figures.
func spread(figures []float64) string {
	sorted := slices.Sorted(slices.Values(figures))
	if len(sorted) == 1 {
		return fmt.Sprintf("%.1f", sorted[0])
	}
	return fmt.Sprintf("%.1f (median of %d; at most %.1f)", sorted[len(sorted)/2], len(sorted), sorted[len(sorted)-1])
}
