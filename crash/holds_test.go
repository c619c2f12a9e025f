package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/store"
)

// state is what can be old or new on a host: its table, and what it remembers.
type state struct{ Table, Memory string }

// look returns a host's state, and fails where its files cannot be read.
func (w *world) look(t *testing.T, h *lab.Host) state {
	t.Helper()
	return state{Table: ours(t, h), Memory: memory(t, h)}
}

// holds checks what must hold at every moment. The table of a gate that stood
// before and will stand afterwards must stand now.
func (w *world) holds(t *testing.T, stands bool) {
	t.Helper()
	if _, err := lab.ProbeTCP(t.Context(), w.Host("device"), netip.AddrPortFrom(w.Home().IPv4, 22)); err != nil {
		t.Errorf("home's LAN does not reach it: %v", err)
	}
	w.untouched(t, w.Home())
	w.gateHolds(t, stands)
}

// gateHolds is what of it concerns the gate.
func (w *world) gateHolds(t *testing.T, stands bool) {
	t.Helper()
	for _, addr := range []netip.Addr{w.Gate().IPv4, w.Gate().IPv6} {
		if _, err := lab.ProbeSSH(t.Context(), w.Visitor(), netip.AddrPortFrom(addr, portSSH)); err != nil {
			t.Errorf("no new ssh connection to the gate: %v", err)
		}
	}
	table := ours(t, w.Gate())
	if stands && table == "" {
		t.Error("the gate's table is gone")
	}
	// A first start does not protect the gate: its owner has confirmed nothing.
	closed := strings.Contains(table, `counter name "total_closed" drop`)
	if open := w.open(t, portClosed); open == closed {
		t.Errorf("the gate is protected: %v; its closed port is open: %v", closed, open)
	}
	w.untouched(t, w.Gate())
}

// untouched checks that what is not ours is as it was.
func (w *world) untouched(t *testing.T, h *lab.Host) {
	t.Helper()
	if got := w.foreign(t, h); got != w.clean[h.Name] {
		t.Errorf("what is not ours has changed on %s:\n%s", h.Name, difference(w.clean[h.Name], got))
	}
}

// open reports whether a visitor can connect to a port of the gate. What is
// dropped does not answer at all.
func (w *world) open(t *testing.T, port uint16) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	c, err := w.Visitor().Dial(ctx, "tcp", netip.AddrPortFrom(w.Gate().IPv4, port).String())
	if err != nil {
		return false
	}
	must(t, c.Close())
	return true
}

// ours is our table on a host, "" if there is none, without what is counted
// in it.
func ours(t *testing.T, h *lab.Host) string {
	t.Helper()
	all := output(t, h, "nft", "-s", "list", "ruleset", "inet")
	_, text, found := strings.Cut("\n"+all, "\ntable inet gatelodge {\n")
	if !found {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n}\n")
	return passed.ReplaceAllString(text, "")
}

// passed is what packets and time have left in our table.
var passed = regexp.MustCompile(`(?m)^\t*elements = \{[^}]*(ct count over|limit rate over|timeout) [^}]*\}\n`)

func output(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	out, err := h.Run(t.Context(), args...)
	must(t, err)
	return out
}

// foreign is what a host has that is not ours: tables, rules, routes, links,
// addresses, and the settings that we never change.
func (w *world) foreign(t *testing.T, h *lab.Host) string {
	t.Helper()
	var b strings.Builder
	tables := "\n" + output(t, h, "nft", "-s", "list", "ruleset")
	for _, own := range []string{"\ntable inet gatelodge {", "\ntable inet gatelodge.guard {"} {
		if before, rest, found := strings.Cut(tables, own); found {
			_, after, _ := strings.Cut(rest, "\n}\n")
			tables = before + "\n" + after
		}
	}
	b.WriteString(tables)
	script := "for f in -4 -6; do ip $f rule; ip $f route show table all; done; ip -br link; ip -br addr"
	for line := range strings.Lines(output(t, h, "sh", "-c", script)) {
		if !strings.Contains(line, "gatelodge") && !strings.Contains(line, "proto 155") && !passing(line) {
			b.WriteString(line)
		}
	}
	b.WriteString(settings(t, h, slices.Concat(counting, declared)))
	return b.String()
}

// passing lines are the kernel's own, of link-local addresses that settle some
// time after a link comes up.
func passing(line string) bool {
	return slices.ContainsFunc([]string{"expires ", "anycast", "multicast ff00", "local fe80::"}, func(s string) bool { return strings.Contains(line, s) })
}

// counting are settings that are none.
var counting = []string{"nf_conntrack_count"}

// declared are settings that we set as long as we stand, or that the kernel
// sets with them, and those of our own interface.
var declared = []string{"net/ipv4/ip_forward", "forwarding", "all/accept_redirects", "send_redirects", "eth0/accept_ra", "ip_local_reserved_ports", "nf_conntrack_tcp_timeout_syn_", "/gatelodge/"}

// settings lists the network's settings but for some.
func settings(t *testing.T, h *lab.Host, but []string) string {
	t.Helper()
	return output(t, h, "sh", "-c", "cd /proc/sys && grep -rs . net | grep -v '"+strings.Join(but, `\|`)+"' | sort")
}

// memory is what a host remembers, as far as an owner would care: read by the
// program's own rules from a copy of its files.
func memory(t *testing.T, h *lab.Host) string {
	t.Helper()
	return stored(t, h) + written(t, h)
}

// stored is what the program remembers, apart from what the owner wrote.
func stored(t *testing.T, h *lab.Host) string {
	t.Helper()
	return remembered(t, filepath.Join(h.Root(), "var/lib/gatelodge"), h.Name) + remembered(t, filepath.Join(h.Root(), "run/gatelodge"), "journal")
}

// written is what the owner wrote, or had written.
func written(t *testing.T, h *lab.Host) string {
	t.Helper()
	var b strings.Builder
	for _, file := range []string{"gate.toml", "home.toml"} {
		text, err := os.ReadFile(filepath.Join(h.Root(), "etc/gatelodge", file))
		if err == nil {
			b.Write(text)
		}
	}
	return b.String()
}

func remembered(t *testing.T, folder, name string) string {
	t.Helper()
	value := load(t, folder, name)
	if name == "journal" {
		return "" // it only grows; what it is for, down shows
	}
	return essence(value)
}

// keyOf is the private key that a host remembers, "" if it has none yet.
func keyOf(t *testing.T, h *lab.Host) string {
	t.Helper()
	text, _ := load(t, filepath.Join(h.Root(), "var/lib/gatelodge"), h.Name)["private_key"].(string)
	return text
}

// load reads a value as the program does, from a copy of its files.
func load(t *testing.T, folder, name string) map[string]any {
	t.Helper()
	files := snapshot(t, folder)
	s, err := store.Open(files, nil)
	must(t, err)
	defer s.Close()
	value := map[string]any{}
	loaded, err := s.Load(name, &value)
	if err != nil || loaded.Warning != "" && !strings.Contains(loaded.Warning, "missing") {
		t.Errorf("%s in %s cannot be used as it is: %v %s", name, folder, err, loaded.Warning)
	}
	return value
}

// snapshot copies a folder's files to one that store accepts. A file may go
// while it is copied, as others save.
func snapshot(t *testing.T, folder string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "state")
	must(t, os.Mkdir(to, 0o700))
	entries, err := os.ReadDir(folder)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.Contains(e.Name(), ".json") || strings.Contains(e.Name(), ".new-") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(folder, e.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(to, e.Name()), content, fs.FileMode(0o600)))
	}
	return to
}

// essence drops what the daemons write down by themselves: where the other
// side was last seen, and numbers that only grow. The key is there before
// anything else is, see keyOf.
func essence(value map[string]any) string {
	var drop func(v any)
	drop = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range []string{"private_key", "LastEndpoint", "last_endpoint", "Generation", "generation", "NextForwardID", "ID", "Enrolled", "RedeemedAt"} {
				delete(v, k)
			}
			for _, o := range v {
				drop(o)
			}
		case []any:
			for _, o := range v {
				drop(o)
			}
		}
	}
	drop(value)
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(text) + "\n"
}

// difference shows the lines that only one of two texts has.
func difference(before, after string) string {
	var b strings.Builder
	was, is := slices.Collect(strings.Lines(before)), slices.Collect(strings.Lines(after))
	for _, l := range was {
		if !slices.Contains(is, l) {
			b.WriteString("- " + l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			b.WriteString("+ " + l)
		}
	}
	return b.String()
}
