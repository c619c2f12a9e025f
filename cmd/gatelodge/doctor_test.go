package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/lab"
)

// diagnosis is what the test reads of `gatelodge doctor --json`.
type diagnosis struct {
	Findings []doctor.Finding `json:"findings"`
	Notes    []string         `json:"notes"`
}

// diagnose runs the doctor on a host. Its exit code must agree with what it
// finds.
func diagnose(ctx context.Context, h *lab.Host) (diagnosis, error) {
	var d diagnosis
	begin := time.Now()
	out, err := h.Gatelodge(ctx, "doctor", "--json")
	exit := new(lab.ExitError)
	if err != nil && (!errors.As(err, &exit) || exit.Status != 1) {
		return d, err
	}
	if bad := json.Unmarshal([]byte(out), &d); bad != nil {
		return d, fmt.Errorf("%w in: %s", bad, out)
	}
	if (err != nil) != (len(d.Findings) > 0) {
		return d, fmt.Errorf("exit status %d with %d findings", exit.Status, len(d.Findings))
	}
	if took := time.Since(begin); took > 15*time.Second {
		return d, fmt.Errorf("it took %s", took)
	}
	return d, nil
}

// says checks that the doctor finds these causes, in this order, and no other.
func says(ctx context.Context, h *lab.Host, want ...doctor.ID) error {
	d, err := diagnose(ctx, h)
	if err != nil {
		return err
	}
	var got []doctor.ID
	var why []string
	for _, f := range d.Findings {
		got, why = append(got, f.ID), append(why, f.Sentence)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("on %s the doctor says %v, not %v: %s; notes %v", h.Name, got, want, strings.Join(why, " "), d.Notes)
	}
	return nil
}

// fault is one that is brought about for real.
type fault struct {
	name   string
	inject func(t *testing.T, l *lab.Lab)
	fix    func(t *testing.T, l *lab.Lab)
	home   []doctor.ID // what the doctor must say at home; nil: not asked
	gate   []doctor.ID // and on the gate
	// again: the daemon fixes it by itself every 20 seconds, so that it may be
	// gone before the doctor looks and has to be brought about again.
	again bool
	// names is what the sentence at home must name.
	names string
}

// naming has the fault's sentence looked at as well.
func (f fault) naming(words string) fault {
	f.names = words
	return f
}

// loadRules loads a table of somebody else's on a host.
func loadRules(t *testing.T, h *lab.Host, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules")
	must(t, os.WriteFile(file, []byte("table inet other\ndelete table inet other\ntable inet other {\n"+text+"\n}\n"), 0o600))
	run(t, h, "nft", "-f", file)
}

func foreign(host func(*lab.Lab) *lab.Host, text string) (inject, fix func(*testing.T, *lab.Lab)) {
	return func(t *testing.T, l *lab.Lab) { loadRules(t, host(l), text) },
		func(t *testing.T, l *lab.Lab) { run(t, host(l), "nft", "delete", "table", "inet", "other") }
}

func rules(name string, host func(*lab.Lab) *lab.Host, text string, home, gate []doctor.ID) fault {
	f := fault{name: name, home: home, gate: gate}
	f.inject, f.fix = foreign(host, text)
	return f
}

// beside loads the rules of another firewall on the gate, as nft shows them, and
// those that its owner adds.
func beside(name, file string, tables, added []string, home, gate []doctor.ID) fault {
	host := (*lab.Lab).Gate
	return fault{
		name: name, home: home, gate: gate,
		inject: func(t *testing.T, l *lab.Lab) {
			text, err := filepath.Abs(filepath.Join("../../internal/host/firewall/testdata/foreign", file))
			must(t, err)
			run(t, host(l), "nft", "-f", text)
			for _, rule := range added {
				run(t, host(l), append([]string{"nft", "add", "rule"}, strings.Fields(rule)...)...)
			}
		},
		fix: func(t *testing.T, l *lab.Lab) {
			for _, table := range tables {
				run(t, host(l), append([]string{"nft", "delete", "table"}, strings.Fields(table)...)...)
			}
		},
	}
}

// published exposes something for as long as the fault lasts.
func published(name string, home []doctor.ID, args ...string) fault {
	return fault{
		name: name, home: home,
		inject: func(t *testing.T, l *lab.Lab) {
			must(t, l.Home().Expose(t.Context(), append(args, "--name", "faulty")...))
		},
		fix: func(t *testing.T, l *lab.Lab) {
			_, err := l.Home().Gatelodge(t.Context(), "unexpose", "faulty")
			must(t, err)
		},
	}
}

// listening has somebody listen on a host for as long as the fault lasts.
func listening(f fault, host func(*lab.Lab) *lab.Host, at string) fault {
	return listeningBy("tcp", f, host, at)
}

func listeningBy(network string, f fault, host func(*lab.Lab) *lab.Host, at string) fault {
	inject, fix := f.inject, f.fix
	var listener net.Listener
	f.inject = func(t *testing.T, l *lab.Lab) {
		var err error
		listener, err = host(l).Listen(network, at)
		must(t, err)
		if inject != nil {
			inject(t, l)
		}
	}
	f.fix = func(t *testing.T, l *lab.Lab) {
		if fix != nil {
			fix(t, l)
		}
		must(t, listener.Close())
	}
	return f
}

func ids(list ...doctor.ID) []doctor.ID { return append([]doctor.ID{}, list...) }

func homeFile(l *lab.Lab) string { return filepath.Join(l.Home().Root(), "etc/gatelodge/home.toml") }

func applyHome(t *testing.T, l *lab.Lab) {
	t.Helper()
	_, err := l.Home().Gatelodge(t.Context(), "apply")
	must(t, err)
}

// realFaults are those that namespaces allow. The last one cannot be fixed.
func realFaults() []fault {
	gate, home, internet := (*lab.Lab).Gate, (*lab.Lab).Home, func(l *lab.Lab) *lab.Host { return l.Host("internet") }
	filters := []string{"ip filter", "ip6 filter"}
	faults := []fault{
		published("service not listening", ids(doctor.NotListening), "7050/tcp"),
		published("UDP service not listening", ids(doctor.NotListening), "7052/udp"),
		listening(published("listening on loopback only", ids(doctor.LoopbackOnly), "7051/tcp"), home, "127.0.0.1:7051"),
		listening(fault{name: "another process on the gate holds the port", home: ids(doctor.PortHeld), gate: ids(doctor.PortHeld)}, gate, ":7000"),
		published("LAN target down", ids(doctor.TargetDown), "7060/tcp", "--to", "192.168.1.99"),
		published("LAN target answering elsewhere", ids(doctor.AnswersElsewhere), "7003:7002/tcp", "--to", "192.168.1.20", "--source", "preserve"),
		listening(published("an open relay", ids(doctor.OpenRelay), "7061:3128/tcp", "--source", "masquerade"), home, ":3128"),
		rules("gate's forward dropped by a foreign table", gate, "chain f { type filter hook forward priority 0; policy drop; }", ids(doctor.GateForwardDrops), nil),
		rules("gate's forward dropped by a foreign rule about the source", gate, "chain f { type filter hook forward priority 0; ip saddr 192.0.2.2 counter drop; }", ids(doctor.GateForwardDrops), nil).naming("hain f of table inet other (ip saddr 192.0.2.2"),
		rules("dropped on the gate before our rules", gate, "chain early { type filter hook prerouting priority raw; tcp dport 7000 jump banned; }\nchain banned { drop; }", ids(doctor.GateForwardDrops), nil).naming("hain banned of table inet other (drop)"),
		rules("gate's input dropped by a foreign table", gate, `chain i { type filter hook input priority 0; policy drop; iifname "lo" accept; ct state established,related accept; tcp dport 22 accept; }`, nil, ids(doctor.GateInputDrops)),
		beside("gate's input dropped by ufw", "ufw.nft", filters, nil, ids(doctor.GateInputDrops), ids(doctor.GateInputDrops)),
		beside("gate's forward dropped by ufw", "ufw.nft", filters, []string{
			"ip filter ufw-user-input udp dport 55107 accept", "ip filter ufw-user-input iifname gatelodge accept", "ip6 filter ufw6-user-input iifname gatelodge accept",
		}, ids(doctor.GateForwardDrops), nil),
		beside("gate's forward dropped by Docker", "docker.nft", filters, nil, ids(doctor.GateForwardDrops), nil),
		beside("gate's input dropped by firewalld", "firewalld.nft", []string{"inet firewalld"}, nil, nil, ids(doctor.GateInputDrops)),
		rules("home's input dropped by a foreign table", home, `chain i { type filter hook input priority 0; policy drop; iifname "lo" accept; ct state established,related accept; }`, ids(doctor.HomeDrops), ids(doctor.HomeDrops)),
		rules("provider firewall", internet, `chain f { type filter hook forward priority 0; oifname "gate" meta l4proto tcp drop; }`, ids(doctor.ProviderFirewall), nil),
		rules("MTU black hole", internet, `chain f { type filter hook forward priority 0; oifname { "gate", "cgnat" } meta l4proto udp meta length > 1200 drop; }`, ids(doctor.MTUBlackHole), nil),
		rules("UDP to the gate blocked", internet, `chain f { type filter hook forward priority 0; oifname "gate" meta l4proto udp drop; }`, ids(doctor.UDPBlocked), ids(doctor.HandshakeStale)),
		{
			name: "forward refused by policy", home: ids(doctor.RefusedByPolicy),
			inject: func(t *testing.T, l *lab.Lab) {
				appendTo(t, homeFile(l), "\n[forward.taken]\nports = [\"2222/tcp\"]\n")
				// It fails if the gate refuses at once; while the tunnel comes back
				// from the fault before, the gate is asked later.
				_, err := l.Home().Gatelodge(t.Context(), "apply")
				if exit := new(lab.ExitError); err != nil && !errors.As(err, &exit) {
					t.Fatal(err)
				}
			},
			fix: func(t *testing.T, l *lab.Lab) {
				_, err := l.Home().Gatelodge(t.Context(), "unexpose", "taken")
				must(t, err)
			},
		},
		{
			name: "rp_filter strict", again: true, home: ids(doctor.ReversePath),
			inject: func(t *testing.T, l *lab.Lab) {
				run(t, l.Home(), "sysctl", "-w", "net.ipv4.conf.gatelodge.rp_filter=1")
			},
			fix: func(t *testing.T, l *lab.Lab) { applyHome(t, l) },
		},
		{
			name: "ip_forward off", again: true, gate: ids(doctor.ForwardingOff),
			inject: func(t *testing.T, l *lab.Lab) { run(t, l.Gate(), "sysctl", "-w", "net.ipv4.ip_forward=0") },
			fix: func(t *testing.T, l *lab.Lab) {
				_, err := l.Gate().Gatelodge(t.Context(), "apply")
				must(t, err)
			},
		},
		{
			name: "tunnel prefix overlapping a LAN", home: ids(doctor.TunnelOverlap),
			inject: func(t *testing.T, l *lab.Lab) {
				run(t, l.Home(), "ip", "addr", "add", "10.99.0.200/24", "dev", "docker0", "noprefixroute")
			},
			fix: func(t *testing.T, l *lab.Lab) {
				run(t, l.Home(), "ip", "addr", "del", "10.99.0.200/24", "dev", "docker0")
			},
		},
		{
			name: "disk full", home: ids(doctor.DiskFull),
			inject: func(t *testing.T, l *lab.Lab) {
				must(t, unix.Mount("small", filepath.Join(l.Home().Root(), "var/lib/gatelodge"), "tmpfs", 0, "size=64k,mode=0700"))
			},
			fix: func(t *testing.T, l *lab.Lab) {
				must(t, unix.Unmount(filepath.Join(l.Home().Root(), "var/lib/gatelodge"), unix.MNT_DETACH))
			},
		},
		movedName(), deletedRule(), twinKey(), hairpin(),
		{
			name: "home's daemon does not run", home: ids(doctor.DaemonDown), gate: nil,
			inject: func(t *testing.T, l *lab.Lab) { must(t, l.Home().Kill()) },
			fix:    func(t *testing.T, l *lab.Lab) { must(t, l.Home().Start()); must(t, l.Home().Ready(t.Context())) },
		},
		oldNFT(),
		{
			name: "wrong key", gate: ids(doctor.WrongKey), home: ids(doctor.UDPBlocked),
			inject: func(t *testing.T, l *lab.Lab) {
				_, err := l.Gate().Gatelodge(t.Context(), "gate", "revoke", "home", "--yes")
				must(t, err)
			},
		},
	}
	return faults
}

// Each fault is brought about for real, found by its name and by no other, not
// even by that of the fault before, which has been fixed. In the end nothing is
// found.
func TestDoctorNamesTheCulprit(t *testing.T) {
	l := newJoinedLab(t)
	for _, e := range []string{"8081/tcp --name container", "8022:22/tcp --name shell", "7002 --name device --to 192.168.1.20 --source masquerade"} {
		must(t, l.Home().Expose(t.Context(), strings.Fields(e)...))
	}
	healthy(t, l)
	tryAll(t, l, realFaults())
}

// tryAll brings about one fault after the other.
func tryAll(t *testing.T, l *lab.Lab, faults []fault) {
	t.Helper()
	documented, err := os.ReadFile("../../docs/doctor.md")
	must(t, err)
	for i, f := range faults {
		if !strings.Contains(string(documented), "| "+f.name+" |") {
			t.Errorf("docs/doctor.md does not list the fault %q", f.name)
		}
		if i == len(faults)-1 {
			healthy(t, l) // the last one cannot be fixed
		}
		if !t.Run(f.name, func(t *testing.T) { f.try(t, l) }) {
			return // the next would stumble over this one
		}
	}
}

func healthy(t *testing.T, l *lab.Lab) {
	t.Helper()
	bothSay(t, l, "health", ids(), ids())
}

// bothSay waits until the doctor says this on both sides; nil is not asked.
func bothSay(t *testing.T, l *lab.Lab, what string, gate, home []doctor.ID) {
	t.Helper()
	bothSayAfter(t, l, what, gate, home, func() {})
}

// bothSayAfter does something before each look.
func bothSayAfter(t *testing.T, l *lab.Lab, what string, gate, home []doctor.ID, before func()) {
	t.Helper()
	var last error // the end of a last try that time has cut off says nothing
	for begin := time.Now(); time.Since(begin) < 40*time.Second; {
		before()
		if last = bothSayNow(t.Context(), l, gate, home); last == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, last)
}

func bothSayNow(ctx context.Context, l *lab.Lab, gate, home []doctor.ID) error {
	failed := make(chan error)
	ask := func(h *lab.Host, want []doctor.ID) {
		if want == nil {
			failed <- nil
			return
		}
		failed <- says(ctx, h, want...)
	}
	go ask(l.Gate(), gate)
	go ask(l.Home(), home)
	return errors.Join(<-failed, <-failed)
}

func (f fault) try(t *testing.T, l *lab.Lab) {
	f.inject(t, l)
	// Some faults need a moment to show, and some the daemon fixes by itself
	// within seconds: those are brought about again before each look.
	before := func() {}
	if f.again {
		before = func() { f.inject(t, l) }
	}
	bothSayAfter(t, l, f.name, f.gate, f.home, before)
	if f.names != "" {
		d, err := diagnose(t.Context(), l.Home())
		must(t, err)
		if len(d.Findings) == 0 || !strings.Contains(d.Findings[0].Sentence, f.names) {
			t.Errorf("%s: it does not name %q: %+v", f.name, f.names, d.Findings)
		}
	}
	if f.fix != nil {
		f.fix(t, l)
	}
}
