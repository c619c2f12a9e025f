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

// overSSH sets a gate up from home over ssh: on the gate is nothing but Debian.
func (w *world) overSSH(t *testing.T, before map[string]string) {
	w.scenario(t, "init refuses what cannot work", "", func(t *testing.T) {
		w.on(t, w.home, "dpkg --install /payload/gatelodge.deb >/dev/null")
		w.initRefuses(t)
		w.on(t, w.home, "dpkg --purge gatelodge >/dev/null 2>&1")
		w.same(t, before)
	})
	for _, login := range []struct{ name, args, input string }{
		{"init as root", "root@198.51.100.1", ""},
		{"init with sudo that asks, sshd on another port", "--port 2222 asked@198.51.100.1", "secret\n"},
	} {
		w.scenario(t, login.name, "7", func(t *testing.T) {
			w.initAs(t, login.args, login.input)
			w.uninstall(t)
		})
	}
	w.scenario(t, "uninstall leaves nothing", "7", func(t *testing.T) { w.same(t, before) })
}

// initAs is the two commands of README. The package comes by dpkg: apt, which
// starts slowly here, has had its turn in other scenarios.
func (w *world) initAs(t *testing.T, args, input string) {
	w.on(t, w.home, "dpkg --install /payload/gatelodge.deb >/dev/null")
	start := time.Now()
	said := w.on(t, w.home, "printf '%%s' '%s' | gatelodge init --yes %s 2>&1", input, args)
	took := time.Since(start)
	said += "\n" + w.on(t, w.home, "gatelodge expose 443 2>&1; gatelodge expose 7000 --name echo 2>&1; gatelodge expose 7001 --name masked --source masquerade 2>&1")
	w.eventually(t, "a visitor gets through", func(ctx context.Context) error { return w.visit(ctx, gateAt(443)) })
	w.figure = fmt.Sprintf("init %.0f s, with the first visitor %.0f s", took.Seconds(), time.Since(start).Seconds())
	t.Logf("gatelodge init --yes %s; gatelodge expose 443 …\n%s", args, said)
	name := strings.ReplaceAll(t.Name(), "/", "-") + ".transcript"
	check(t, os.WriteFile(filepath.Join(*output, name), []byte(said+"\n"), 0o644))
	w.addresses(t)
	w.on(t, w.gate, "systemctl is-active gatelodge; systemctl is-enabled gatelodge")
	w.on(t, w.home, "systemctl is-active gatelodge; systemctl is-enabled gatelodge")
	if again := w.refused(t, w.home, "printf '%%s' '%s' | gatelodge init --yes %s 2>&1", input, args); !strings.Contains(again, "already") {
		t.Errorf("init again says: %s", again)
	}
	if err := w.visit(t.Context(), gateAt(443)); err != nil {
		t.Errorf("after a second init: %v", err)
	}
}

// uninstall takes all of it away again: on the gate what init brought, at home
// the package.
func (w *world) uninstall(t *testing.T) {
	w.both(t, "case $(uname -n) in gate) gatelodge uninstall --purge 2>&1;; home) dpkg --purge gatelodge >/dev/null 2>&1;; esac")
}

// initRefuses tries what init must refuse, with the reason, before it has
// changed anything.
func (w *world) initRefuses(t *testing.T) {
	const target = "root@198.51.100.1"
	w.refuses(t, []refusal{
		{"unknown host key", w.home, "", "", "init --yes " + target, []string{"host key", "connect"}},
		{"nobody there", w.home, "", "", "init --yes --port 23 " + target, []string{"connect", "refused"}},
		{"no such login", w.home, "ssh-keyscan -T 60 198.51.100.1 >/root/.ssh/known_hosts 2>/dev/null; ssh-keyscan -T 60 -p 2222 198.51.100.1 >>/root/.ssh/known_hosts 2>/dev/null; [ -s /root/.ssh/known_hosts ]", "", "init --yes nobody@198.51.100.1", []string{"connect", "ermission denied"}},
		{"wrong sudo password", w.home, "", "", "init --yes asked@198.51.100.1", []string{"sudo"}},
		{"another product on the port", w.gate, "systemd-run --unit=other /payload/services hold 55107", "systemctl stop other; systemctl reset-failed other 2>/dev/null || true", "init --yes " + target, []string{"55107"}},
		{"no nft", w.gate, "mv /usr/sbin/nft /usr/sbin/nft.away", "mv /usr/sbin/nft.away /usr/sbin/nft", "init --yes " + target, []string{"nft"}},
		{"an old nft", w.gate, "mv /usr/sbin/nft /usr/sbin/nft.away; printf '#!/bin/sh\\necho nftables v0.9.3 \\\\(Topsy\\\\)\\n' >/usr/sbin/nft; chmod 755 /usr/sbin/nft", "mv /usr/sbin/nft.away /usr/sbin/nft", "init --yes " + target, []string{"0.9.3", "1.0.2"}},
		{"another architecture", w.gate, "printf '#!/bin/sh\\n[ \"$1\" = -m ] && echo s390x || exec /usr/bin/uname.away \"$@\"\\n' >/usr/bin/uname.new; chmod 755 /usr/bin/uname.new; mv /usr/bin/uname /usr/bin/uname.away; mv /usr/bin/uname.new /usr/bin/uname", "mv /usr/bin/uname.away /usr/bin/uname", "init --yes " + target, []string{"s390x"}},
		{"not Linux", w.gate, "printf '#!/bin/sh\\n[ \"$1\" = -s ] && echo FreeBSD || exec /usr/bin/uname.away \"$@\"\\n' >/usr/bin/uname.new; chmod 755 /usr/bin/uname.new; mv /usr/bin/uname /usr/bin/uname.away; mv /usr/bin/uname.new /usr/bin/uname", "mv /usr/bin/uname.away /usr/bin/uname", "init --yes " + target, []string{"FreeBSD", "Linux"}},
		{"neither root nor sudo", w.gate, "mv /etc/sudoers.d/owners /root/owners", "mv /root/owners /etc/sudoers.d/owners", "init --yes owner@198.51.100.1", []string{"sudo"}},
	})
}

// refusal is something that init must refuse.
type refusal struct {
	name      string
	on        *machine.Machine // where one script breaks it, and another fixes it
	hurt, fix string
	args      string
	says      []string // what its refusal names
}

// refuses tries refusals, each of which must name its reason and leave nothing
// on the gate.
func (w *world) refuses(t *testing.T, list []refusal) {
	t.Helper()
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			if c.hurt != "" {
				w.on(t, c.on, "%s", c.hurt)
			}
			defer func() {
				if c.fix != "" {
					w.on(t, c.on, "%s", c.fix)
				}
			}()
			said := w.refused(t, w.home, "echo wrong | gatelodge %s 2>&1", c.args)
			t.Log(said)
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("it should name %q:\n%s", want, said)
				}
			}
			if _, err := w.try(t, w.gate, "! test -e /etc/gatelodge -o -e /usr/local/bin/gatelodge"); err != nil {
				t.Errorf("something was left on the gate: %v", err)
			}
		})
	}
}
