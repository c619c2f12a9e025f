package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// configure writes another gate.toml or home.toml: the present one with a
// change.
func configure(t *testing.T, h *lab.Host, old, changed string) (putBack func()) {
	t.Helper()
	file := filepath.Join(h.Root(), "etc/gatelodge", h.Name+".toml")
	before := readFile(t, file)
	after := strings.Replace(before, old, changed, 1)
	if after == before {
		t.Fatalf("%s does not say %q:\n%s", file, old, before)
	}
	must(t, os.WriteFile(file, []byte(after), 0o644))
	return func() { must(t, os.WriteFile(file, []byte(before), 0o644)) }
}

// What apply takes, the next start takes as well, and the homes still find the
// gate.
func TestApplyRefusesWhatTheNextStartWould(t *testing.T) {
	l := newJoinedLab(t)
	for _, tt := range []struct{ name, old, changed, says string }{
		{"another prefix", `prefix4 = "10.99.0.0/24"`, `prefix4 = "10.88.0.0/24"`, "restore the former prefix4"},
		{"a prefix with another first address", `prefix4 = "10.99.0.0/24"`, `prefix4 = "10.98.0.0/15"`, "its homes know it as 10.99.0.1"},
		{"no IPv6 any more", `prefix6 = `, `#prefix6 = `, "not in the tunnel's prefix"},
		{"another control port", `[tunnel]`, "[tunnel]\ncontrol_port = 55200", "know it at 55108"},
		{"another interface", `[tunnel]`, "[tunnel]\ninterface = \"other\"", "run gatelodge down before the change"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			putBack := configure(t, l.Gate(), tt.old, tt.changed)
			for _, command := range []string{"plan", "apply"} {
				contains(t, refuses(t, l.Gate(), 1, command), tt.says)
			}
			putBack()
			_, err := l.Gate().Gatelodge(t.Context(), "apply")
			must(t, err)
			reachable(t, l)
		})
	}
}

func TestAGateWithoutHomesTakesAnotherPrefix(t *testing.T) {
	l := newLab(t)
	must(t, l.InitGate(t.Context()))
	run(t, l.Gate(), "ip", "link", "add", "lan0", "type", "bridge")
	run(t, l.Gate(), "ip", "addr", "add", "10.77.0.1/16", "dev", "lan0")
	putBack := configure(t, l.Gate(), `prefix4 = "10.99.0.0/24"`, `prefix4 = "10.77.5.0/24"`)
	contains(t, refuses(t, l.Gate(), 1, "apply"), "overlaps 10.77.0.0/16, a network of this machine's interface lan0")
	putBack()
	configure(t, l.Gate(), `prefix4 = "10.99.0.0/24"`, `prefix4 = "10.88.0.0/24"`)
	_, err := l.Gate().Gatelodge(t.Context(), "apply")
	must(t, err)
	must(t, l.Join(t.Context(), l.Home()))
	must(t, l.Home().Expose(t.Context(), "7000", "--name", "echo"))
	reachable(t, l)
	must(t, l.Gate().Kill())
	must(t, l.Gate().Start())
	must(t, l.Gate().Ready(t.Context()))
	reachable(t, l)
}

// A daemon that is started with another interface than the one that stands says
// what is to be done, and leaves that one alone.
func TestAnotherInterfaceIsNoForeignNetwork(t *testing.T) {
	l := newJoinedLab(t)
	for _, h := range []*lab.Host{l.Home(), l.Gate()} {
		putBack := configure(t, h, "[tunnel]\n", "[tunnel]\ninterface = \"other\"\n")
		must(t, h.Kill())
		must(t, h.Start())
		eventually(t, "the refusal", func(context.Context) error {
			if !strings.Contains(h.Log(), "gatelodge, its name before, still exists") {
				return fmt.Errorf("%s says %q", h.Name, h.LogTail(5))
			}
			return nil
		})
		contains(t, run(t, h, "ip", "link"), "gatelodge")
		_, err := h.Gatelodge(t.Context(), "down")
		must(t, err)
		must(t, h.Start())
		must(t, h.Ready(t.Context()))
		contains(t, run(t, h, "ip", "link"), "other")
		reachable(t, l)
		_, err = h.Gatelodge(t.Context(), "down")
		must(t, err)
		putBack()
		must(t, h.Start())
		must(t, h.Ready(t.Context()))
		reachable(t, l)
	}
}

// A kernel without a part of nf_tables is named by the first that is asked.
func TestAKernelWithoutFibIsNamed(t *testing.T) {
	l := newLab(t)
	must(t, l.InitGate(t.Context()))
	real, err := exec.LookPath("nft")
	must(t, err)
	refuses := `#!/bin/sh
case "$*" in *--file*) ;; *) exec ` + real + ` "$@" ;; esac
n=$(grep -n -m1 "fib saddr" | cut -d: -f1)
echo "/dev/stdin:$n:3-22: Error: Could not process rule: No such file or directory"
exit 1
`
	nft := filepath.Join(filepath.Dir(l.Home().Root()), "bin", "nft")
	must(t, os.WriteFile(nft, []byte(refuses), 0o755))
	invite, err := l.Gate().Gatelodge(t.Context(), "gate", "invite", "home")
	must(t, err)
	gatelodge(t, l.Home(), "join", strings.TrimSpace(invite), "--no-start")
	const says = "this kernel lacks nft_fib (load it: modprobe nft_fib_inet"
	contains(t, run(t, l.Home(), "sh", "-c", "gatelodge up 2>&1"), says)
	contains(t, report(t, l.Home()), says)
	gatelodge(t, l.Home(), "down")
}
