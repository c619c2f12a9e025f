package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// sealed runs f on a thread that has /proc/sys read-only, as in a container.
func (m *machine) sealed(t testing.TB, f func() error) {
	t.Helper()
	must(t, m.ns.Do(func() error {
		return errors.Join(
			unix.Unshare(unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""),
			unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""),
			f(),
		)
	}))
}

// Where no setting can be changed, those that do no harm as they are hinder
// nobody, and the others are named before anything has been set up in vain.
func TestSettingsThatCannotBeChanged(t *testing.T) {
	const ipv4, ipv6 = "net/ipv4/conf/", "net/ipv6/conf/"
	tests := []struct {
		name     string
		gate     bool
		text     string // of the configuration
		settings [][2]string
		says     string // "": it works
	}{
		{name: "a home", settings: [][2]string{{ipv4 + "all/rp_filter", "0"}, {ipv4 + "default/rp_filter", "0"}}},
		{name: "a home, loose", settings: [][2]string{{ipv4 + "all/rp_filter", "2"}, {ipv4 + "default/rp_filter", "1"}}},
		{name: "a home, new interfaces loose", settings: [][2]string{{ipv4 + "all/rp_filter", "1"}, {ipv4 + "default/rp_filter", "2"}}},
		{name: "a home, strict", settings: [][2]string{{ipv4 + "all/rp_filter", "0"}, {ipv4 + "default/rp_filter", "1"}}, says: "net.ipv4.conf.default.rp_filter=2"},
		{name: "a home, all strict", settings: [][2]string{{ipv4 + "all/rp_filter", "1"}, {ipv4 + "default/rp_filter", "0"}}, says: "net.ipv4.conf.default.rp_filter=2"},
		{name: "a home with IPv6", settings: [][2]string{{ipv4 + "all/rp_filter", "0"}, {ipv6 + "default/disable_ipv6", "0"}}},
		{name: "a home that forwards", text: lan, settings: [][2]string{{"net/ipv4/ip_forward", "1"}, {ipv4 + "all/rp_filter", "0"}}},
		{name: "a home that does not", text: lan, settings: [][2]string{{ipv4 + "all/rp_filter", "0"}}, says: "net.ipv4.ip_forward=1"},
		{name: "a gate", gate: true, settings: [][2]string{{"net/ipv4/ip_forward", "1"}}},
		{name: "a gate with IPv6", gate: true, text: "[tunnel]\nprefix6 = \"fd99::/64\"\n", settings: [][2]string{{"net/ipv4/ip_forward", "1"}, {ipv6 + "all/forwarding", "1"}, {ipv6 + "default/disable_ipv6", "0"}}},
		{name: "a gate that does not forward", gate: true, says: "net.ipv4.ip_forward=1"},
		{name: "a gate whose uplink does not", gate: true, settings: [][2]string{{"net/ipv4/ip_forward", "1"}, {ipv4 + "eth0/forwarding", "0"}}, says: "net.ipv4.conf.eth0.forwarding=1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			for _, s := range tt.settings {
				m.sysctl(t, s[0], s[1])
			}
			before := m.dump(t)
			m.sealed(t, func() error {
				facts, err := m.host.Facts(context.Background(), config.DefaultInterface)
				if err != nil {
					return err
				}
				for range 2 {
					_, err = m.host.Apply(context.Background(), m.wanted(t, tt.gate, tt.text, facts))
					if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
						t.Errorf("it says %v", err)
					}
				}
				return nil
			})
			if tt.says == "" {
				return
			}
			if d := cmp.Diff(before, m.dump(t)); d != "" {
				t.Errorf("the machine (-before +after):\n%s", d)
			}
		})
	}
}

func (m *machine) wanted(t testing.TB, gate bool, text string, facts plan.Facts) plan.State {
	if gate {
		return gateOf(t, text, facts)
	}
	return homeOf(t, text, facts)
}
