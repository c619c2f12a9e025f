//go:build vm

package vmtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab/machine"
)

// foreign is another program's firewall on the gate.
type foreign struct {
	name     string   // of the row, and of its packages' folder in /payload
	packages []string // of Debian; none if the image has it
	// set makes it a firewall of a careful owner who has not heard of
	// Gatelodge: ssh may come in, nothing is forwarded.
	set string
	// reload is what its owner does after a change, restart what an upgrade does.
	reload, restart string
	// culprit is what "gatelodge doctor" has to name where visitors are blocked.
	culprit string
}

// docker's rules need its daemon; its own network is enough to make them.
var foreigns = []foreign{
	{
		name:    "nftables.service",
		set:     "printf '%s\n' '#!/usr/sbin/nft -f' 'flush ruleset' 'table inet filter {' 'chain input { type filter hook input priority filter; policy drop; ct state established,related accept; iif lo accept; meta l4proto { 1, 58 } accept; tcp dport { 22, 2222 } accept; }' 'chain forward { type filter hook forward priority filter; policy drop; ct state established,related accept; }' '}' >/etc/nftables.conf; systemctl enable --now nftables 2>/dev/null; systemctl restart nftables",
		reload:  "systemctl reload nftables",
		restart: "systemctl restart nftables",
		culprit: "filter",
	},
	{
		name:     "ufw",
		packages: []string{"ufw"},
		set:      "ufw allow 22/tcp; ufw allow 2222/tcp; ufw --force enable",
		reload:   "ufw reload",
		restart:  "systemctl restart ufw",
		culprit:  "ufw",
	},
	{
		name:     "firewalld",
		packages: []string{"firewalld", "netbase"},
		set:      "firewall-cmd --permanent --add-port=2222/tcp; systemctl enable --now firewalld 2>/dev/null; firewall-cmd --reload",
		reload:   "firewall-cmd --reload",
		restart:  "systemctl restart firewalld",
		culprit:  "firewalld",
	},
	{
		name:     "fail2ban",
		packages: []string{"fail2ban", "python3-systemd"},
		set:      "printf '[DEFAULT]\nbackend = systemd\nbanaction = nftables\nbanaction_allports = nftables[type=allports]\n' >/etc/fail2ban/jail.local; systemctl enable fail2ban 2>/dev/null; systemctl restart fail2ban; until fail2ban-client ping >/dev/null 2>&1; do sleep 0.5; done; fail2ban-client set sshd banip 203.0.113.99; until nft list table inet f2b-table >/dev/null 2>&1; do sleep 0.2; done",
		reload:   "fail2ban-client reload",
		restart:  "systemctl restart fail2ban",
	},
	{
		name:     "docker.io",
		packages: []string{"docker.io"},
		set:      "systemctl enable --now docker 2>/dev/null; until docker info >/dev/null 2>&1; do sleep 0.5; done",
		reload:   "systemctl reload docker",
		restart:  "systemctl restart docker",
		culprit:  "DOCKER",
	},
	{
		name:     "iptables-persistent",
		packages: []string{"iptables-persistent"},
		// As Oracle's images have it.
		set:     "printf '%s\n' '*filter' ':INPUT ACCEPT [0:0]' ':FORWARD ACCEPT [0:0]' ':OUTPUT ACCEPT [0:0]' '-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT' '-A INPUT -p icmp -j ACCEPT' '-A INPUT -i lo -j ACCEPT' '-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT' '-A INPUT -p tcp -m state --state NEW -m tcp --dport 2222 -j ACCEPT' '-A INPUT -j REJECT --reject-with icmp-host-prohibited' '-A FORWARD -j REJECT --reject-with icmp-host-prohibited' COMMIT >/etc/iptables/rules.v4; systemctl enable netfilter-persistent 2>/dev/null; systemctl restart netfilter-persistent",
		reload:  "netfilter-persistent reload",
		restart: "systemctl restart netfilter-persistent",
		culprit: "iptables-persistent",
	},
}

// foreignPackages are the packages to be brought to the machines.
func foreignPackages() map[string][]string {
	all := map[string][]string{"rpm": {"rpm"}}
	for _, f := range foreigns {
		if len(f.packages) > 0 {
			all[f.name] = f.packages
		}
	}
	return all
}

// TestMoreFirewalls puts other programs' firewalls beside ours on the gate, as
// Debian ships them: each on a fresh copy of a gate that works.
func TestMoreFirewalls(t *testing.T) {
	if !*more {
		t.Fatal("the packages are fetched with -more only; make vm-more gives it")
	}
	image, err := machine.Build(t.Context(), os.Stderr)
	must(t, err)
	packages, err := machine.Packages(t.Context(), image, foreignPackages(), os.Stderr)
	must(t, err)
	w := newWorld(t, "kernel", machine.Boot{}, packages)
	w.mainJob(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, w.gate.SwitchOff(ctx))
	frozen := w.gate.Frozen()
	table := &strings.Builder{}
	table.WriteString("| Debian's package | after us | reloaded | restarted | rebooted | before us | then |\n|---|---|---|---|---|---|---|\n")
	for i, f := range foreigns {
		w.scenario(t, f.name, "", func(t *testing.T) {
			w.gate = w.newMachine(t, frozen, filepath.Join(w.dir, fmt.Sprint(i)), "gate", gateMAC)
			must(t, w.gate.Start(w.boot))
			w.await(t, w.gate)
			w.visitor(t)
			fmt.Fprintf(table, "| %s | %s |\n", f.name, strings.Join(w.beside(t, f), " | "))
		})
		if w.gate != nil {
			must(t, w.gate.PowerCut()) // the next one has its place in the network
		}
	}
	// For docs/coexistence.md.
	must(t, os.WriteFile(filepath.Join(*output, "firewalls.md"), []byte(table.String()), 0o644))
}

// beside is one row: what comes after us, its reload, restart and reboot, its
// owner's opening it, and what was there before us. It returns the row's cells.
func (w *world) beside(t *testing.T, f foreign) (cells []string) {
	said := &strings.Builder{}
	defer func() {
		name := strings.ReplaceAll(t.Name(), "/", "-") + ".transcript"
		check(t, os.WriteFile(filepath.Join(*output, name), []byte(said.String()), 0o644))
	}()
	if len(f.packages) > 0 {
		w.on(t, w.gate, "DEBIAN_FRONTEND=noninteractive apt-get install -y -o Dpkg::Options::=--force-confdef /payload/%s/*.deb >&2", f.name)
	}
	ours := w.on(t, w.gate, ourTable)
	var worst time.Duration
	cell := func(name, change string) {
		took := w.timed(t, w.gate, fmt.Sprintf("{ %s; } >&2", change), fmt.Sprintf(`[ "$(%s)" = '%s' ]`, ourTable, ours))
		worst = max(worst, took)
		if took > emulated(time.Second) {
			t.Errorf("%s: our rules were back after %s", name, took)
		}
		cells = append(cells, w.besideNow(t, f, name, said))
	}
	cell("after us", f.set)
	alone := w.foreignRules(t)
	cell("reload", f.reload)
	w.sameRules(t, "reload", alone)
	cell("restart", f.restart)
	w.sameRules(t, "restart", alone)

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	must(t, w.gate.Reboot(ctx))
	w.on(t, w.gate, `until systemctl is-active -q gatelodge; do sleep 0.2; done; until [ "$(%s)" = '%s' ]; do sleep 0.2; done; systemctl is-system-running --wait || true`, ourTable, ours)
	cells = append(cells, w.besideNow(t, f, "reboot", said))

	// Without us, it is what it is for its owner; then we come.
	w.on(t, w.gate, "apt-get remove -y gatelodge >/dev/null 2>&1; ! nft list table inet gatelodge 2>/dev/null; { %s; } >&2", f.restart)
	w.settle(t, f)
	alone = w.foreignRules(t)
	files := w.on(t, w.gate, foreignFiles)
	w.on(t, w.gate, "apt-get install -y /payload/gatelodge.deb >/dev/null 2>&1; systemctl enable gatelodge 2>/dev/null; systemctl start gatelodge")
	cells = append(cells, w.besideNow(t, f, "before us", said))
	if now := w.foreignRules(t); now != alone {
		t.Errorf("before us: rules of others are not what they were:\n%s", differences(alone, now))
	}
	if now := w.on(t, w.gate, foreignFiles); now != files {
		t.Errorf("before us: files of others were changed:\n%s", differences(files, now))
	}

	if f.culprit != "" {
		w.openedWithConsent(t, f, said)
		if now := w.foreignRules(t); now != alone {
			t.Errorf("after down, rules of others are not what they were:\n%s", differences(alone, now))
		}
		cells = append(cells, "let through by `doctor --fix`, reverted by `down`")
	} else {
		cells = append(cells, "nothing to do")
	}
	w.figure = fmt.Sprintf("after us, reloaded, restarted, rebooted, before us: %s; ours back after %.2f s at most", strings.Join(cells, ", "), worst.Seconds())
	return cells
}

// ourTable prints a digest of our table, in any order, without the visitors that
// it counts.
const ourTable = `nft -s list table inet gatelodge 2>/dev/null | awk '/^\t(set|map) / { counts = 0 } /flags .*dynamic/ { counts = 1 } counts && /elements = / { skip = 1 } !skip; /}/ { skip = 0 }' | sort | sha256sum | cut -c1-16`

// foreignFiles lists the files of /etc that are not ours.
const foreignFiles = "find /etc -xdev -type f ! -path '/etc/gatelodge/*' ! -name '*-' ! -name ld.so.cache ! -name .pwd.lock ! -path '*gatelodge*' -exec sha256sum {} + | sort -k2"

// foreignRules returns all rules but ours: of nftables, which iptables uses on
// Debian, too.
func (w *world) foreignRules(t *testing.T) string {
	t.Helper()
	return w.on(t, w.gate, "nft -s list ruleset | awk '/^table/ { ours = /inet gatelodge[. ]/ } !ours'; iptables-legacy-save 2>/dev/null | grep -v '^#' || true")
}

// sameRules checks that a foreign firewall has made the same rules again. Their
// order may be another one: Docker puts its jumps first, whenever it starts.
func (w *world) sameRules(t *testing.T, cell, before string) {
	t.Helper()
	if lines := differences(before, w.foreignRules(t)); lines != "" {
		t.Errorf("%s: rules of others are not what they were:\n%s", cell, lines)
	}
}

// settle waits until a foreign firewall has made its rules.
func (w *world) settle(t *testing.T, f foreign) {
	t.Helper()
	last := ""
	w.eventually(t, f.name+" has made its rules", func(context.Context) error {
		now := w.foreignRules(t)
		if now != last {
			last = now
			return fmt.Errorf("they still change")
		}
		time.Sleep(time.Second)
		return nil
	})
}

// besideNow says whether a visitor passes, and checks that what is blocked is
// blocked by nobody but that firewall: ssh answers, and doctor names it.
func (w *world) besideNow(t *testing.T, f foreign, cell string, said *strings.Builder) string {
	t.Helper()
	passes := w.passes(t)
	for _, port := range []uint16{22, 2222} {
		w.eventually(t, cell+": ssh of the gate answers", func(ctx context.Context) error { return sshAnswers(ctx, w.lab.Visitor(), port) })
	}
	doctor := w.on(t, w.gate, "gatelodge doctor 2>&1 || true")
	fmt.Fprintf(said, "== %s: visitor passes: %t\n%s\n%s\n", cell, passes, doctor, w.foreignRules(t))
	if passes {
		return "passes"
	}
	if f.culprit == "" {
		t.Errorf("%s: a visitor is blocked beside %s, which blocks nobody", cell, f.name)
	}
	if !strings.Contains(doctor, f.culprit) {
		t.Errorf("%s: doctor should name %s; it says: %s", cell, f.culprit, doctor)
	}
	return "named"
}

// passes tries for some seconds whether a visitor gets through.
func (w *world) passes(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if w.visit(ctx, gateAt(7000)) == nil {
			return true
		}
		time.Sleep(200 * time.Millisecond)
	}
	return false
}

// openedWithConsent has doctor open the firewall with its own command, which
// holds over its reload and restart, and has down revert that.
func (w *world) openedWithConsent(t *testing.T, f foreign, said *strings.Builder) {
	t.Helper()
	fix, _ := w.try(t, w.gate, "gatelodge doctor --fix --yes 2>&1 || true")
	fmt.Fprintf(said, "== doctor --fix\n%s\n", fix)
	w.opened(t)
	if status := w.on(t, w.gate, "gatelodge status || [ $? = 1 ]"); !strings.Contains(status, "let through") {
		t.Errorf("status does not list what was opened: %s", status)
	}
	for _, change := range []string{f.reload, f.restart} {
		w.on(t, w.gate, fmt.Sprintf("{ %s; } >&2", change))
		w.settle(t, f)
		w.opened(t)
	}
	fmt.Fprintf(said, "== down\n%s\n", w.on(t, w.gate, "gatelodge down 2>&1; { "+f.restart+"; } >&2"))
	w.settle(t, f)
}

// opened checks that visitors pass once the owner has opened the door.
func (w *world) opened(t *testing.T) {
	t.Helper()
	w.eventually(t, "visitors pass what was opened for them", func(ctx context.Context) error { return w.visit(ctx, gateAt(7000)) })
}
