package routing

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/gatelodge/gatelodge/internal/plan"
)

func TestSysctl(t *testing.T) {
	ns := newHost(t, "link add eth0.5 type bridge")
	within(t, ns, func() error {
		r := open(t)
		for _, name := range []string{"net.ipv4.ip_forward", "net.ipv4.conf.eth0/5.rp_filter", "net.ipv6.conf.eth0/5.accept_ra"} {
			for _, value := range []string{"1", "0", "1"} {
				if err := r.SetSysctl(t.Context(), plan.Sysctl{Name: name, Value: value}); err != nil {
					return err
				}
				if got, err := r.ReadSysctl(name); err != nil || got != value {
					t.Errorf("%s is %q, not %q: %v", name, got, value, err)
				}
			}
		}
		return nil
	})
}

func TestSysctlThatIsNot(t *testing.T) {
	within(t, newHost(t, ""), func() error {
		r := open(t)
		for _, name := range []string{"net.ipv4.conf.nosuch.rp_filter", "net.ipv4.no_such_setting"} {
			if _, err := r.ReadSysctl(name); !errors.Is(err, ErrNoSysctl) {
				t.Errorf("ReadSysctl(%q): %v", name, err)
			}
			if err := r.SetSysctl(t.Context(), plan.Sysctl{Name: name, Value: "0"}); !errors.Is(err, ErrNoSysctl) {
				t.Errorf("SetSysctl(%q): %v", name, err)
			}
		}
		if err := r.SetSysctl(t.Context(), plan.Sysctl{Name: "net.ipv4.ip_forward", Value: "yes"}); err == nil {
			t.Error("the kernel takes a value that is none")
		}
		return nil
	})
}

func TestSysctlNamesDoNotEscape(t *testing.T) {
	for _, name := range []string{
		"", "net", "net.ipv4", "kernel.core_pattern", "net/ipv4/ip_forward",
		"net.//.kernel", "net.//.//.kernel.hostname", "net.ipv4.conf.//.//.//.kernel.hostname",
		"net.ipv4./.ip_forward", "net..ipv4.ip_forward", "net.ipv4.ip_forward.", ".net.ipv4.ip_forward",
		"net.ipv4.conf.../../../kernel/hostname", "/net.ipv4.ip_forward",
	} {
		if file, err := sysctlFile(name); err == nil {
			t.Errorf("%q is taken for %s", name, file)
		}
		r := &Routing{}
		if _, err := r.ReadSysctl(name); err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoSysctl) {
			t.Errorf("ReadSysctl(%q): %v", name, err)
		}
		if err := r.SetSysctl(t.Context(), plan.Sysctl{Name: name, Value: "0"}); err == nil || errors.Is(err, ErrNoSysctl) {
			t.Errorf("SetSysctl(%q): %v", name, err)
		}
	}
}
