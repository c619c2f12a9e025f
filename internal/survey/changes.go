package survey

import "fmt"

// InputText says what a gate will do with what arrives for the machine itself,
// which is called by that name; leave is to leave it alone.
func InputText(leave bool, name string) string {
	if leave {
		return "what arrives for " + name + " itself is not filtered"
	}
	return "only ssh, WireGuard, established connections and needed ICMP reach " + name + " itself"
}

// KernelText says what a gate will change in the kernel of the machine.
func (f Facts) KernelText() string {
	forwarding := "switches forwarding on"
	if f.Forwarding {
		forwarding = "forwarding is on already"
	}
	return forwarding + ", makes the conntrack table larger, and reserves forwarded ports; gatelodge down restores what was changed"
}

// DeviceText says which WireGuard a gate or a home will have on the machine, and
// why.
func (f Facts) DeviceText() string {
	if f.WireGuard {
		return "kernel"
	}
	return "embedded (this kernel has no WireGuard)"
}

// SSHText says which ports are sshd's, and what becomes of them.
func (f Facts) SSHText() string {
	if len(f.SSHPorts) == 0 {
		return "no sshd found listening: port 22 is kept open and is never forwarded"
	}
	text := "port "
	for i, p := range f.SSHPorts {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprint(p)
	}
	return text + ": kept open, never forwarded"
}
