//go:build vm

package vmtest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/machine"
)

// ailment is a fault that only a machine has.
type ailment struct {
	on          *machine.Machine // where it is brought about
	inject, fix string
	asked       *machine.Machine // whose doctor names it
	want        string           // the finding's ID
}

// doctors brings faults about that namespaces cannot have, and asks the doctor.
func (w *world) doctors(t *testing.T) {
	w.says(t, w.home, "")
	w.says(t, w.gate, "")
	all := []ailment{
		{on: w.home, inject: "date +%s >/run/now; date -s @86400 >/dev/null", fix: "date -s @$(cat /run/now) >/dev/null", asked: w.home, want: "clock-wrong"},
		{on: w.gate, inject: "sysctl -q net.netfilter.nf_conntrack_max=4", fix: "gatelodge apply >/dev/null", asked: w.gate, want: "conntrack-full"},
		{on: w.gate, inject: "printf 'ListenAddress 10.99.0.1\n' >/etc/ssh/sshd_config.d/only.conf; systemctl restart ssh", fix: "rm /etc/ssh/sshd_config.d/only.conf; systemctl restart ssh", asked: w.gate, want: "ssh-in-tunnel-only"},
		{on: w.gate, inject: "systemctl kill -s STOP gatelodge", fix: "systemctl kill -s CONT gatelodge", asked: w.home, want: "gate-daemon-silent"},
		{on: w.home, inject: "ip route del default", fix: "networkctl reconfigure eth0; until ip route | grep -q ^default; do sleep 0.2; done", asked: w.home, want: "no-route"},
		{on: w.gate, inject: "systemctl stop gatelodge", fix: "systemctl start gatelodge", asked: w.gate, want: "daemon-down"},
	}
	// Without privilege it says so, and finds nothing that is not so.
	w.both(t, "runuser -u nobody -- gatelodge doctor >/tmp/said 2>&1 && exit 1 || [ $? = 4 ]; grep -q sudo /tmp/said; rm /tmp/said")
	for _, a := range all {
		w.on(t, a.on, "%s", a.inject)
		w.says(t, a.asked, a.want)
		w.on(t, a.on, "%s", a.fix)
		w.visitor(t)
	}
	w.withoutIPv6(t)
	w.says(t, w.home, "")
	w.says(t, w.gate, "")
	w.figure = fmt.Sprintf("%d faults named, and none before and after", len(all)+1)
}

// withoutIPv6 is a home whose kernel was started without IPv6. Switched off by
// sysctl, the tunnel's interface still has it.
func (w *world) withoutIPv6(t *testing.T) {
	without := w.boot
	without.Kernel += " ipv6.disable=1"
	w.on(t, w.home, "sync")
	for _, c := range []struct {
		boot machine.Boot
		want string
	}{{without, "ipv6-one-side"}, {w.boot, ""}} {
		must(t, w.home.PowerCut())
		must(t, w.home.Start(c.boot))
		w.await(t, w.home)
		w.visitor(t)
		w.says(t, w.home, c.want)
	}
}

// says waits until the doctor of a machine finds this, or nothing.
func (w *world) says(t *testing.T, m *machine.Machine, want string) {
	t.Helper()
	w.eventually(t, fmt.Sprintf("the doctor of %s says %q", m.Name, want), func(context.Context) error {
		out := w.on(t, m, "gatelodge doctor --json 2>/dev/null || [ $? = 1 ]")
		var d struct {
			Findings []struct{ ID, Sentence string }
		}
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			return err
		}
		var found []string
		for _, f := range d.Findings {
			found = append(found, f.ID)
		}
		if want == "" && len(found) > 0 || want != "" && !slices.Contains(found, want) {
			return fmt.Errorf("it says %+v", d.Findings)
		}
		return nil
	})
}
