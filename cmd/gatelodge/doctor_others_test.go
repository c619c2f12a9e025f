package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/lab"
)

// othersFaults are what the rules and settings of others do beside dropping, and
// where they and a service are easily taken for each other.
func othersFaults() []fault {
	gate, home := (*lab.Lab).Gate, (*lab.Lab).Home
	container := []string{"7016:80/tcp", "--to", "172.17.0.2", "--source", "preserve"}
	return []fault{
		rules("notrack on the gate", gate, "chain early { type filter hook prerouting priority raw; tcp dport 7000 notrack; }", ids(doctor.Untracked), ids(doctor.Untracked)).naming("tcp dport 7000 notrack"),
		beforehand(rules("notrack at home", home, "chain early { type filter hook output priority raw; tcp sport 22 notrack; }", ids(doctor.Untracked), nil), published("", nil, "8022:22/tcp")).naming("tcp sport 22 notrack"),
		rules("visitors hidden on the gate", gate, "chain n { type nat hook postrouting priority srcnat - 150; masquerade; }", ids(doctor.SourceHidden), ids(doctor.SourceHidden)).naming("hain n of table inet other (masquerade"),
		beforehand(rules("visitors hidden at home", home, `chain n { type nat hook postrouting priority srcnat; oifname "docker0" masquerade; }`, ids(doctor.SourceHidden), nil), published("", nil, container...)),
		beforehand(rules("refused by a rule at home", home, `chain guests { type filter hook forward priority 0; oif "docker0" ct state established,related accept; oif "docker0" ct state new reject; }`, ids(doctor.HomeDrops), nil), published("", nil, container...)).naming(`hain guests of table inet other (oif "docker0" ct state new reject`),
		rules("refused at home, and no rule that does it", home, `chain i { type filter hook input priority 0; ip saddr 198.51.100.0/24 tcp dport 7000 reject with tcp reset; }`, ids(doctor.HomeDrops), nil).naming("no rule was seen"),
		rules("answers dropped at home", home, `chain o { type filter hook output priority 0; oifname "gatelodge" tcp sport 7000 drop; }`, ids(doctor.HomeDrops), nil).naming("drops the answers"),
		overwrittenMark(),
		listening(published("listening on one address only", ids(doctor.BoundElsewhere), "7011/tcp"), home, "192.168.1.10:7011"),
		boundToDevice(published("listening on one interface only", ids(doctor.BoundElsewhere), "7012/tcp"), home, 7012, "eth0"),
		listeningBy("tcp4", published("listening on IPv4 only", ids(doctor.OneFamily), "7024/tcp"), home, ":7024"),
		legacy("gate's forward dropped by iptables-legacy", gate, ids(doctor.GateForwardDrops), ids(doctor.GateForwardDrops), "-P FORWARD DROP").naming("iptables-legacy's chain FORWARD"),
		legacy("gate's input dropped by iptables-legacy", gate, nil, ids(doctor.GateInputDrops), "-A INPUT -i lo -j ACCEPT", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A INPUT -p tcp --dport 2222 -j ACCEPT", "-P INPUT DROP"),
		legacy("home's input dropped by iptables-legacy", home, ids(doctor.HomeDrops), nil, "-A INPUT -i lo -j ACCEPT", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-P INPUT DROP").naming("iptables-legacy's chain INPUT"),
		{
			name: "forwarding off for one interface", again: true, gate: ids(doctor.ForwardingOff),
			inject: func(t *testing.T, l *lab.Lab) {
				run(t, l.Gate(), "sysctl", "-w", "net.ipv4.conf.eth0.forwarding=0")
			},
			fix: func(t *testing.T, l *lab.Lab) {
				run(t, l.Gate(), "sysctl", "-w", "net.ipv4.conf.eth0.forwarding=1")
			},
		},
		withoutFib(),
	}
}

// beforehand brings another fault, or what one needs, about first.
func beforehand(f, first fault) fault {
	inject, fix := f.inject, f.fix
	f.inject = func(t *testing.T, l *lab.Lab) { first.inject(t, l); inject(t, l) }
	f.fix = func(t *testing.T, l *lab.Lab) { fix(t, l); first.fix(t, l) }
	return f
}

// legacy has rules of iptables-legacy, which nft(8) does not show.
func legacy(name string, host func(*lab.Lab) *lab.Host, home, gate []doctor.ID, commands ...string) fault {
	iptables := func(t *testing.T, l *lab.Lab, commands ...string) {
		for _, c := range commands {
			run(t, host(l), append([]string{"iptables-legacy"}, strings.Fields(c)...)...)
		}
	}
	return fault{
		name: name, home: home, gate: gate,
		inject: func(t *testing.T, l *lab.Lab) { iptables(t, l, commands...) },
		fix:    func(t *testing.T, l *lab.Lab) { iptables(t, l, "-P INPUT ACCEPT", "-P FORWARD ACCEPT", "-F") },
	}
}

// overwrittenMark is a split-tunnel script: it marks what a service sends, after
// ours, and has a route for that mark.
func overwrittenMark() fault {
	f := rules("mark of answers overwritten at home", (*lab.Lab).Home, "chain split { type route hook output priority mangle + 50; tcp sport 7000 meta mark set 0x1; }", ids(doctor.MarkOverwritten), nil).naming("tcp sport 7000 meta mark set 0x00000001")
	inject, fix := f.inject, f.fix
	f.inject = func(t *testing.T, l *lab.Lab) {
		run(t, l.Home(), "ip", "route", "add", "default", "via", "192.168.1.1", "table", "4242")
		run(t, l.Home(), "ip", "rule", "add", "pref", "50", "fwmark", "1", "lookup", "4242")
		inject(t, l)
	}
	f.fix = func(t *testing.T, l *lab.Lab) {
		fix(t, l)
		run(t, l.Home(), "ip", "rule", "del", "pref", "50")
		run(t, l.Home(), "ip", "route", "flush", "table", "4242")
	}
	return f
}

// boundToDevice has somebody listen on all addresses of one interface alone.
func boundToDevice(f fault, host func(*lab.Lab) *lab.Host, port int, device string) fault {
	inject, fix := f.inject, f.fix
	var listener net.Listener
	f.inject = func(t *testing.T, l *lab.Lab) {
		var err error
		listener, err = host(l).Listen("tcp", fmt.Sprintf(":%d", port))
		must(t, err)
		raw, err := listener.(*net.TCPListener).SyscallConn()
		must(t, err)
		var failed error
		must(t, raw.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), device) }))
		must(t, failed)
		inject(t, l)
	}
	f.fix = func(t *testing.T, l *lab.Lab) { fix(t, l); must(t, listener.Close()) }
	return f
}

// withoutFib gives home an nft that refuses what a kernel without nft_fib does.
func withoutFib() fault {
	nft := func(l *lab.Lab) string { return filepath.Join(filepath.Dir(l.Home().Root()), "bin", "nft") }
	restart := func(t *testing.T, l *lab.Lab) {
		_, err := l.Home().Gatelodge(t.Context(), "down")
		must(t, err)
		must(t, l.Home().Stop(t.Context()))
	}
	return fault{
		name: "kernel without nft_fib", home: ids(doctor.KernelLacks),
		inject: func(t *testing.T, l *lab.Lab) {
			restart(t, l)
			must(t, os.WriteFile(nft(l), []byte(`#!/bin/bash
case " $* " in *" --file - "*) ;; *) PATH=/usr/sbin:/usr/bin:/bin exec nft "$@" ;; esac
text=$(cat)
if line=$(grep -n "fib " <<<"$text"); then
	echo "/dev/stdin:${line%%:*}:1-3: Error: Could not process rule: No such file or directory" >&2
	exit 1
fi
PATH=/usr/sbin:/usr/bin:/bin exec nft "$@" <<<"$text"
`), 0o755))
			must(t, l.Home().Start())
		},
		fix: func(t *testing.T, l *lab.Lab) {
			restart(t, l)
			must(t, os.Remove(nft(l)))
			must(t, l.Home().Start())
			must(t, l.Home().Ready(t.Context()))
		},
	}
}

func TestDoctorTellsOthersApart(t *testing.T) {
	l := newJoinedLab(t)
	healthy(t, l)
	tryAll(t, l, othersFaults())
	hidesNobody(t, l)
	opensLegacy(t, l)
}

// hidesNobody leaves what many tutorials end with on the gate: a masquerade of
// everything. The service sees the visitor all the same, and nothing is wrong.
func hidesNobody(t *testing.T, l *lab.Lab) {
	t.Helper()
	run(t, l.Gate(), "iptables-legacy", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
	loadRules(t, l.Gate(), "chain n { type nat hook postrouting priority srcnat; masquerade; }")
	healthy(t, l)
	seen, err := lab.ProbeTCP(t.Context(), l.Visitor(), netip.AddrPortFrom(l.Gate().IPv4, portEcho))
	must(t, err)
	if seen.Saw.Addr() != l.Visitor().IPv4 {
		t.Errorf("the service sees %s and not the visitor", seen.Saw)
	}
	run(t, l.Gate(), "nft", "delete", "table", "inet", "other")
	run(t, l.Gate(), "iptables-legacy", "-t", "nat", "-F")
}

// opensLegacy has the owner agree to a rule in iptables-legacy: it is restored
// after a reload, and reverted by down.
func opensLegacy(t *testing.T, l *lab.Lab) {
	t.Helper()
	forward := func() string { return run(t, l.Gate(), "iptables-legacy", "-S", "FORWARD") }
	run(t, l.Gate(), "iptables-legacy", "-P", "FORWARD", "DROP")
	before := forward()
	contains(t, gatelodge(t, l.Gate(), "doctor", "--fix", "--yes"), "done: iptables-legacy -I FORWARD", "nothing is wrong")
	reachable(t, l)
	run(t, l.Gate(), "iptables-legacy", "-F", "FORWARD")
	eventually(t, "the rule is back", func(context.Context) error {
		if now := forward(); !strings.Contains(now, "--mark 0x8000000/0x8000000 -j ACCEPT") {
			return fmt.Errorf("it is not: %s", now)
		}
		return nil
	})
	reachable(t, l)
	contains(t, gatelodge(t, l.Gate(), "down"), "undid: iptables-legacy -I FORWARD")
	if now := forward(); now != before {
		t.Errorf("after down its rules are %s, and were %s", now, before)
	}
}
