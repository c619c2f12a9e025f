package survey

import (
	"slices"
	"strconv"
)

// judgePort looks who holds WireGuard's port.
func (v *Verdict) judgePort(f Facts, w Wish) {
	for _, l := range f.Listeners {
		if l.Protocol != "udp" || l.Port != w.Port || l.loopback() {
			continue
		}
		who := "something in its kernel, perhaps a WireGuard interface,"
		if l.Process != "" {
			who = l.Process
		}
		v.refuse("stop it "+v.at+", or choose another port: --listen-port "+strconv.Itoa(int(w.Port)+1), "%s uses UDP port %d %s, which WireGuard needs", who, w.Port, v.at)
		return
	}
}

// judgeAddresses makes sure that this side can send to the VPS at all.
func (v *Verdict) judgeAddresses(f Facts, w Wish) {
	var four, six bool
	for _, a := range f.Addresses {
		if public(a) {
			four, six = four || a.Is4(), six || a.Is6()
		}
	}
	if w.Here || w.Named || !four && !six || four && w.IPv4 || six && w.IPv6 {
		return
	}
	has, lacks := "IPv4", "IPv6"
	if w.IPv6 {
		has, lacks = "IPv6", "IPv4"
	}
	if !w.IPv4 && !w.IPv6 {
		has = "no route to the internet"
	}
	v.refuse("give the VPS an "+has+" address, or this machine "+lacks, "no common address family: its public addresses are %s only, this machine has %s only", lacks, has)
}

// noteFirewalls says what others' firewalls may need. Gatelodge does not touch
// them: a packet must pass them and ours.
func (v *Verdict) noteFirewalls(f Facts, w Wish) {
	for _, name := range f.Firewalls {
		switch name {
		case "ufw":
			v.note("ufw is active %s, and stays. It must let WireGuard and forwarded packets through: ufw allow %d/udp; ufw route allow out on gatelodge", v.at, w.Port)
		case "firewalld":
			v.note("firewalld is active %s, and stays. It must let WireGuard and forwarded packets through: firewall-cmd --permanent --add-port=%d/udp; firewall-cmd --permanent --zone=trusted --add-interface=gatelodge; firewall-cmd --reload", v.at, w.Port)
		case "nftables":
			v.note("nftables.service loads a ruleset of its own %s, which stays: it must let UDP port %d in, and forwarded packets through", v.at, w.Port)
		default:
			v.note("%s is active %s, and stays: it must let UDP port %d in, and forwarded packets through", name, v.at, w.Port)
		}
	}
}

// maxTold is how many services are named that will be closed.
const maxTold = 100

// noteClosing lists what is reachable on the machine now, and no longer will be.
func (v *Verdict) noteClosing(f Facts, w Wish) {
	if w.Leave {
		return
	}
	var told []string
	for _, l := range f.Listeners {
		if l.loopback() || f.ofSSH(l) || l.ofDHCP() || slices.Contains(told, l.Service()) {
			continue
		}
		if len(told) == maxTold {
			v.note("more than %d ports are open %s, and the others will be closed as well", maxTold, v.at)
			return
		}
		told = append(told, l.Service())
		name, closed := l.Process, "and will be closed"
		if name == "" {
			name = "something"
		}
		if l.Process == "" && f.SSHPorts == nil { // without a sudo that asks nothing; gate init will see it
			closed = "and will be closed, unless it is sshd"
		}
		v.note("%s is listening on %s %s %s; --input leave leaves it open, or accept = [%q] under [firewall] in gate.toml", name, l.Service(), v.at, closed, l.Service())
	}
}

// noteDocker says what Docker will do differently because forwarding is on before
// it comes.
func (v *Verdict) noteDocker(f Facts) {
	if f.Docker && !f.Forwarding {
		v.note("Docker makes the machine drop forwarded packets only if Docker itself switches forwarding on; when it starts after the gate, it does not")
	}
}

// ofSSH reports whether the gate's policy leaves the port open anyway, because
// sshd listens there; where our own connection came in, it is sshd.
func (f Facts) ofSSH(l Listener) bool {
	if f.SSHPorts != nil {
		return l.Protocol == "tcp" && (slices.Contains(f.SSHPorts, l.Port) || len(f.SSHPorts) == 0 && l.Port == 22)
	}
	return l.Process == "sshd" && !l.Users || l.Protocol == "tcp" && (l.Port == 22 || l.Port == f.Connection.Port())
}
