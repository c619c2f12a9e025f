package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/lab"
)

// movedName has the gate's name lead elsewhere, while the tunnel still works.
func movedName() fault {
	var hosts string
	point := func(t *testing.T, at string) {
		must(t, os.WriteFile(hosts, fmt.Appendf(nil, "%s gate.example\n", at), 0o644))
	}
	return fault{
		name: "endpoint's name resolves elsewhere", home: ids(doctor.NameElsewhere),
		inject: func(t *testing.T, l *lab.Lab) {
			hosts = filepath.Join(l.Home().Root(), "hosts")
			point(t, l.Gate().IPv4.String())
			must(t, unix.Mount(hosts, "/etc/hosts", "", unix.MS_BIND, ""))
			appendTo(t, homeFile(l), "\n[gate]\nendpoints = [\"gate.example\"]\n")
			applyHome(t, l)
			bothSay(t, l, "a name instead of an address", nil, ids())
			point(t, "203.0.113.99")
		},
		fix: func(t *testing.T, l *lab.Lab) {
			point(t, l.Gate().IPv4.String())
			healthy(t, l) // some seconds later: names are remembered for a while
			text, err := os.ReadFile(homeFile(l))
			must(t, err)
			must(t, os.WriteFile(homeFile(l), []byte(strings.Replace(string(text), "[gate]\nendpoints = [\"gate.example\"]\n", "", 1)), 0o600))
			applyHome(t, l)
			must(t, unix.Unmount("/etc/hosts", unix.MNT_DETACH))
		},
	}
}

// hairpin puts the gate's public address on the home's side of a router that
// does not turn packets round: only the tunnel's have a way there, as in one
// network, with the home's own address.
func hairpin() fault {
	const way = "192.168.1.0/24"
	return fault{
		name: "hairpin asked of a router that cannot", home: ids(doctor.Hairpin),
		inject: func(t *testing.T, l *lab.Lab) {
			run(t, l.Host("internet"), "ip", "route", "add", way, "via", l.Host("cgnat").IPv4.String())
			loadRules(t, l.Host("internet"), `chain f { type filter hook forward priority 0; iifname "cgnat" oifname "gate" meta l4proto tcp drop; }`)
			loadRules(t, l.Host("cgnat"), fmt.Sprintf("chain n { type nat hook postrouting priority srcnat - 1; ip saddr %s ip daddr %s snat ip to %[1]s; }", l.Home().IPv4, l.Gate().IPv4))
			must(t, l.FlushNAT(t.Context()))
		},
		fix: func(t *testing.T, l *lab.Lab) {
			for _, h := range []string{"internet", "cgnat"} {
				run(t, l.Host(h), "nft", "delete", "table", "inet", "other")
			}
			run(t, l.Host("internet"), "ip", "route", "del", way)
			must(t, l.FlushNAT(t.Context()))
		},
	}
}

// deletedRule has somebody delete a rule of ours as fast as it is restored.
func deletedRule() fault {
	var stop context.CancelFunc
	stopped := make(chan struct{})
	return fault{
		name: "our rule deleted", home: ids(doctor.RuleDeleted),
		inject: func(t *testing.T, l *lab.Lab) {
			var ctx context.Context
			ctx, stop = context.WithCancel(t.Context())
			go func() {
				defer close(stopped)
				for ctx.Err() == nil {
					_, _ = l.Home().Run(ctx, "ip", "rule", "del", "pref", "103") // it may be gone just now
				}
			}()
		},
		fix: func(t *testing.T, l *lab.Lab) { stop(); <-stopped },
	}
}

// twinKey starts a second home with the state of the first.
func twinKey() fault {
	return fault{
		name: "two homes with one key", gate: ids(doctor.TwinKey), home: ids(doctor.TwinKey),
		inject: func(t *testing.T, l *lab.Lab) {
			for _, file := range []string{"etc/gatelodge/home.toml", "var/lib/gatelodge/home.json"} {
				text, err := os.ReadFile(filepath.Join(l.Home().Root(), file))
				must(t, err)
				copied := filepath.Join(l.Home2().Root(), file)
				must(t, os.MkdirAll(filepath.Dir(copied), 0o700))
				must(t, os.WriteFile(copied, text, 0o600))
			}
			must(t, l.Home2().Start())
		},
		fix: func(t *testing.T, l *lab.Lab) {
			_, err := l.Home2().Gatelodge(t.Context(), "down")
			must(t, err)
			must(t, l.Home2().Stop(t.Context()))
			must(t, l.Home().Stop(t.Context())) // rather than waiting until it asks again
			must(t, l.Home().Start())
			must(t, l.Home().Ready(t.Context()))
		},
	}
}

// oldNFT has the gate lose its nft, so that its daemon does not start.
func oldNFT() fault {
	nft := func(l *lab.Lab) string { return filepath.Join(filepath.Dir(l.Gate().Root()), "bin", "nft") }
	return fault{
		name: "nft too old", gate: ids(doctor.NFTTooOld),
		inject: func(t *testing.T, l *lab.Lab) {
			must(t, l.Gate().Stop(t.Context()))
			must(t, os.WriteFile(nft(l), []byte("#!/bin/sh\necho 'nftables v0.9.8 (E.D.S.)'\n"), 0o755))
		},
		fix: func(t *testing.T, l *lab.Lab) {
			must(t, os.Remove(nft(l)))
			must(t, l.Gate().Start())
			must(t, l.Gate().Ready(t.Context()))
		},
	}
}
