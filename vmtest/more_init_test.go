//go:build vm

package vmtest

import (
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/machine"
)

// TestMoreInit is what init finds on VPSs that are not as they should be.
func TestMoreInit(t *testing.T) {
	w := newWorld(t, "kernel", machine.Boot{})
	before := w.dumps(t)
	w.on(t, w.home, "ssh-keyscan -T 60 198.51.100.1 >/root/.ssh/known_hosts 2>/dev/null; ssh-keyscan -T 60 -p 2222 198.51.100.1 >>/root/.ssh/known_hosts 2>/dev/null; [ -s /root/.ssh/known_hosts ]")
	w.scenario(t, "init refuses what cannot work: more", "", func(t *testing.T) {
		w.on(t, w.home, "dpkg --install /payload/gatelodge.deb >/dev/null")
		w.refusesMore(t)
		w.on(t, w.home, "dpkg --purge gatelodge >/dev/null 2>&1")
		w.same(t, before)
	})
	w.scenario(t, "init on a VPS without systemd", "", func(t *testing.T) { w.withoutSystemd(t, before) })
	for _, c := range []struct{ name, script string }{
		{"a program without a unit", "dpkg --fsys-tarfile /payload/gatelodge.deb | tar -xO ./usr/bin/gatelodge >/usr/local/bin/gatelodge; chmod 755 /usr/local/bin/gatelodge"},
		{"a unit without a program", "dpkg --fsys-tarfile /payload/gatelodge.deb | tar -xO ./lib/systemd/system/gatelodge.service | sed 's,/usr/bin/,/usr/local/bin/,' >/etc/systemd/system/gatelodge.service; [ -s /etc/systemd/system/gatelodge.service ]; systemctl daemon-reload; systemctl enable gatelodge"},
		{"a gate.toml without keys", "mkdir /etc/gatelodge; printf 'version = 1\n[tunnel]\nprefix6 = \"fd12:3456:789a:1::/64\"\n' >/etc/gatelodge/gate.toml"},
	} {
		w.scenario(t, "init fixes "+c.name, "7", func(t *testing.T) {
			w.on(t, w.gate, "%s", c.script)
			w.initAs(t, "root@198.51.100.1", "")
			w.uninstall(t)
			w.same(t, before)
		})
	}
}

// withoutSystemd is a VPS that another program starts: refused, unless its owner
// takes it as it is.
func (w *world) withoutSystemd(t *testing.T, before map[string]string) {
	const root = "root@198.51.100.1"
	w.on(t, w.gate, "cp /payload/other-init /root/other-init; sync")
	other := w.boot
	other.Kernel += " init=/root/other-init"
	restart := func(b machine.Boot) {
		must(t, w.gate.PowerCut())
		must(t, w.gate.Start(b))
		w.await(t, w.gate)
	}
	restart(other)
	w.on(t, w.home, "dpkg --install /payload/gatelodge.deb >/dev/null")
	w.refuses(t, []refusal{{"no systemd", w.gate, "", "", "init --yes " + root, []string{"no systemd", "--without-service"}}})
	t.Log(w.on(t, w.home, "gatelodge init --yes --without-service %s 2>&1; gatelodge expose 7000 --name echo 2>&1", root))
	w.visitor(t)
	w.on(t, w.gate, "sync")
	restart(other)
	w.on(t, w.gate, "gatelodge up 2>&1") // as init has said
	w.visitor(t)
	w.uninstall(t)
	w.on(t, w.gate, "rm /root/other-init; sync")
	restart(w.boot)
	w.same(t, before)
}

// refusesMore are the refusals that need a machine of their own kind.
func (w *world) refusesMore(t *testing.T) {
	const root = "root@198.51.100.1"
	const hideTUN = "rmmod wireguard 2>/dev/null || true; mv /dev/net/tun /dev/net/tun.away; printf 'blacklist wireguard\\n' >/etc/modprobe.d/none.conf"
	const showTUN = "mv /dev/net/tun.away /dev/net/tun; rm /etc/modprobe.d/none.conf"
	// A VPS with public IPv6 only: its IPv4 address is one of its provider's.
	internet := w.lab.Host("internet")
	link, err := internet.Run(t.Context(), "ip", "-o", "-4", "addr", "show", "to", "198.51.100.254")
	must(t, err)
	_, err = internet.Run(t.Context(), "ip", "route", "add", "10.20.0.1/32", "dev", strings.Fields(link)[1])
	must(t, err)
	const onlyIPv6 = `ip addr add 10.20.0.1/32 dev eth0; ip addr del 198.51.100.1/24 dev eth0
ip route replace 198.51.100.254 dev eth0 src 10.20.0.1; ip route replace default via 198.51.100.254 src 10.20.0.1`
	const again = "networkctl reconfigure eth0; until ip route | grep -q 'default via 198.51.100.254' && ip addr show dev eth0 | grep -q 198.51.100.1/24; do sleep 0.2; done; ip addr del 10.20.0.1/32 dev eth0 2>/dev/null || true; ip route del 198.51.100.254 2>/dev/null || true"
	w.refuses(t, []refusal{
		{"no common address family", w.gate, onlyIPv6, again, "init --yes --ssh-option StrictHostKeyChecking=accept-new root@10.20.0.1", []string{"no common address family", "IPv6 only", "IPv4 only"}},
		{"neither TUN nor the module", w.gate, hideTUN, showTUN, "init --yes " + root, []string{"neither WireGuard nor /dev/net/tun", "modprobe tun"}},
		{"a container without TUN", w.gate, hideTUN + "; printf lxc >/run/systemd/container", showTUN + "; rm /run/systemd/container", "init --yes " + root, []string{"container (lxc)", "ask the provider"}},
		{"no systemctl", w.gate, "mv /usr/bin/systemctl /usr/bin/systemctl.away", "mv /usr/bin/systemctl.away /usr/bin/systemctl", "init --yes " + root, []string{"has no systemctl", "reinstall systemd"}},
		{"keys without a gate.toml", w.gate, "mkdir -m 700 /var/lib/gatelodge; echo '{}' >/var/lib/gatelodge/gate.json", "rm -r /var/lib/gatelodge", "init --yes " + root, []string{"keys of a gate", "gate.toml"}},
	})
}
