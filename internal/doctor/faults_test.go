package doctor

import (
	"net/netip"
	"time"
)

// breakage is a fault, as what it makes of healthy evidence.
type breakage struct {
	fault string // in the words of the documents
	want  ID
	gate  bool // found on the gate; else at home
	harm  func(e *Evidence)
}

func disconnect(e *Evidence) {
	e.Here.Tunnel.Answers, e.Here.Tunnel.Small, e.Here.Tunnel.Large = false, Untried, Untried
	e.There, e.Missing = nil, Silent
}

// inTheLab are the faults that TestDoctorNamesTheCulprit in cmd/gatelodge also
// brings about for real, with daemons in network namespaces.
var inTheLab = []string{
	"service not listening", "listening on loopback only", "another process on the gate holds the port", "LAN target down",
	"LAN target answering elsewhere", "an open relay", "gate's forward dropped by a foreign table",
	"gate's forward dropped by a foreign rule about the source", "dropped on the gate before our rules",
	"home's input dropped by a foreign table", "provider firewall", "MTU black hole", "UDP to the gate blocked", "handshake stale",
	"forward refused by policy", "rp_filter strict", "ip_forward off", "tunnel prefix overlapping a LAN", "disk full",
	"endpoint's name resolves elsewhere", "our rule deleted", "two homes with one key", "home's daemon does not run",
	"nft too old", "wrong key", "UDP service not listening", "gate's input dropped by a foreign table",
	"gate's input dropped by ufw", "gate's forward dropped by ufw", "gate's forward dropped by Docker", "gate's input dropped by firewalld",
	"gate's input dropped, seen from the home", "hairpin asked of a router that cannot",
	"notrack on the gate", "notrack, seen on the gate", "notrack at home", "visitors hidden on the gate", "visitors hidden, seen on the gate",
	"visitors hidden at home", "refused by a rule at home", "refused at home, and no rule that does it", "answers dropped at home",
	"mark of answers overwritten at home", "listening on one address only", "listening on one interface only", "listening on IPv4 only",
	"gate's forward dropped by iptables-legacy", "gate's forward dropped by iptables-legacy, seen there", "gate's input dropped by iptables-legacy",
	"home's input dropped by iptables-legacy", "forwarding off for one interface", "kernel without nft_fib", "two homes with one key, seen from the home",
}

// onMachines are those that the virtual machines bring about (vmtest).
var onMachines = []string{
	"clock of another century", "conntrack full", "the VPS reachable by ssh only through the tunnel", "no route to the gate",
	"gate's daemon silent", "embedded device although the kernel has one", "gate's forward dropped by ufw",
	"gate's forward dropped by Docker", "gate's input dropped by ufw", "gate's input dropped by firewalld", "IPv6 missing at home",
}

// breakages are all faults that can be told apart.
func breakages() []breakage {
	home := func(fault string, want ID, harm func(e *Evidence)) breakage {
		return breakage{fault, want, false, harm}
	}
	onGate := func(fault string, want ID, harm func(e *Evidence)) breakage { return breakage{fault, want, true, harm} }
	lose := func(e *Evidence) { e.Here.Forwards[0].Outside = TimedOut }
	drop := func(owner, table, chain string) func(e *Evidence) {
		return func(e *Evidence) {
			lose(e)
			e.There.Drops = append(e.There.Drops, Drop{Hook: Passing, Owner: owner, Table: table, Chain: chain, Remedy: "remedy of " + owner})
		}
	}
	hidden := func(table, chain string) Drop {
		return Drop{Deed: Hides, Hook: Leaving, Table: table, Chain: chain, Rule: "masquerade", Protocol: "tcp", Port: 443}
	}
	silence := func(owner, table, chain string) func(e *Evidence) {
		return func(e *Evidence) {
			e.Here.Homes[0].Heard = false
			e.Here.Drops = append(e.Here.Drops, Drop{Hook: Input, Owner: owner, Table: table, Chain: chain, Protocol: "udp", Port: 55107, Remedy: "let 55107/udp in"})
		}
	}
	return []breakage{
		home("service not listening", NotListening, func(e *Evidence) {
			e.Here.Forwards[0].Listeners, e.There.Forwards[0].Inside, e.Here.Forwards[0].Outside = nil, Closed, Closed
		}),
		home("UDP service not listening", NotListening, func(e *Evidence) {
			e.Here.Forwards[1].Listeners, e.There.Forwards[1].Inside = nil, Closed
		}),
		home("listening on loopback only", LoopbackOnly, func(e *Evidence) {
			e.Here.Forwards[0].Listeners, e.There.Forwards[0].Inside, e.Here.Forwards[0].Outside = []netip.AddrPort{at("127.0.0.1:443")}, Closed, Closed
		}),
		home("listening on one address only", BoundElsewhere, func(e *Evidence) {
			e.Here.Forwards[0].Listeners, e.There.Forwards[0].Inside, e.Here.Forwards[0].Outside = []netip.AddrPort{at("192.168.1.10:443")}, Closed, Closed
		}),
		home("listening on one interface only", BoundElsewhere, func(e *Evidence) {
			e.Here.Forwards[0].OnlyOn, e.There.Forwards[0].Inside, e.Here.Forwards[0].Outside = "eth0", Closed, Closed
		}),
		home("listening on IPv4 only", OneFamily, func(e *Evidence) {
			e.There.Forwards[0].Inside, e.There.Forwards[0].Inside6, e.Here.Forwards[0].Listeners = Open, Closed, []netip.AddrPort{at("0.0.0.0:443")}
		}),
		home("listening on IPv6 only", OneFamily, func(e *Evidence) {
			e.There.Forwards[0].Inside, e.There.Forwards[0].Inside6, e.Here.Forwards[0].Outside, e.Here.Forwards[0].Local = Closed, Open, Closed, Closed
		}),
		home("no IPv4 of its own at home", NoIPv4Route, func(e *Evidence) { e.Here.Machine.NoWay4 = true }),
		home("refused by a rule at home", HomeDrops, func(e *Evidence) {
			e.There.Forwards[2].Inside, e.Here.Forwards[2].Outside = Closed, Closed
			e.Here.Drops = append(e.Here.Drops, Drop{Hook: Passing, Table: "ip libvirt_network", Chain: "guest_input", Rule: "oif docker0 ct state new reject", Protocol: "tcp", Port: 443})
		}),
		home("refused at home, and no rule that does it", HomeDrops, func(e *Evidence) {
			e.There.Forwards[0].Inside, e.Here.Forwards[0].Outside = Closed, Closed
		}),
		home("answers dropped at home", HomeDrops, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].Inside = TimedOut
			e.Here.Drops = append(e.Here.Drops, Drop{Hook: Output, Table: "inet other", Chain: "o", Protocol: "tcp"})
		}),
		home("another process on the gate holds the port", PortHeld, func(e *Evidence) { e.There.Forwards[0].Holder = "nginx" }),
		home("forward refused by policy", RefusedByPolicy, func(e *Evidence) {
			e.There.Forwards[0].Granted, e.There.Forwards[0].Reason, e.There.Forwards[0].Inside = false, "the gate needs 22/tcp (ssh) itself", Untried
		}),
		home("gate has not decided yet", NotGrantedYet, func(e *Evidence) {
			e.Here.Forwards[0].Granted, e.Here.Forwards[0].Pending = false, true
			e.There, e.Missing = nil, Older
		}),
		home("gate's forward dropped by ufw", GateForwardDrops, drop("ufw", "ip filter", "ufw-reject-forward")),
		home("gate's forward dropped by firewalld", GateForwardDrops, drop("firewalld", "inet firewalld", "filter_FORWARD")),
		home("gate's forward dropped by Docker", GateForwardDrops, drop("Docker", "ip filter", "FORWARD")),
		home("gate's forward dropped by a foreign table", GateForwardDrops, drop("", "inet other", "f")),
		home("gate's forward dropped by iptables-legacy", GateForwardDrops, func(e *Evidence) {
			lose(e)
			e.There.Drops = append(e.There.Drops, Drop{Hook: Passing, Owner: "iptables-legacy", Table: "ip filter", Chain: "FORWARD", Legacy: true, Remedy: "iptables-legacy -I FORWARD"})
		}),
		onGate("gate's input dropped by iptables-legacy", GateInputDrops, silence("iptables-legacy", "ip filter", "INPUT")),
		home("home's input dropped by iptables-legacy", HomeDrops, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].Inside = TimedOut
			e.Here.Drops = append(e.Here.Drops, Drop{Hook: Input, Owner: "iptables-legacy", Table: "ip filter", Chain: "INPUT", Legacy: true, Protocol: "tcp"})
		}),
		onGate("gate's forward dropped by iptables-legacy, seen there", GateForwardDrops, func(e *Evidence) {
			e.Here.Drops = append(e.Here.Drops, Drop{Hook: Passing, Owner: "iptables-legacy", Table: "ip filter", Chain: "FORWARD", Legacy: true, Protocol: "tcp", Port: 443})
		}),
		home("no answer, and no rule that drops it", NoAnswer, lose),
		home("visitors hidden on the gate", SourceHidden, func(e *Evidence) { e.There.Drops = append(e.There.Drops, hidden("ip nat", "POSTROUTING")) }),
		onGate("visitors hidden, seen on the gate", SourceHidden, func(e *Evidence) { e.Here.Drops = append(e.Here.Drops, hidden("ip nat", "POSTROUTING")) }),
		home("visitors hidden at home", SourceHidden, func(e *Evidence) { e.Here.Drops = append(e.Here.Drops, hidden("ip nat", "POSTROUTING")) }),
		home("notrack on the gate", Untracked, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].After, e.There.Forwards[0].Traced, e.There.Forwards[0].Arrived, e.There.Forwards[0].Unwanted = e.There.Forwards[0].Before, true, true, true
			e.There.Drops = append(e.There.Drops, Drop{Deed: Untracks, Hook: Arrival, Table: "inet other", Chain: "raw", Rule: "tcp dport 443 notrack", Protocol: "tcp", Port: 443})
		}),
		onGate("notrack, seen on the gate", Untracked, func(e *Evidence) {
			e.Here.Drops = append(e.Here.Drops, Drop{Deed: Untracks, Hook: Arrival, Table: "inet other", Chain: "raw", Rule: "tcp dport 443 notrack", Protocol: "tcp", Port: 443})
		}),
		home("notrack at home", Untracked, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].Inside = TimedOut
			e.Here.Drops = append(e.Here.Drops, Drop{Deed: Untracks, Hook: Output, Table: "inet other", Chain: "raw", Rule: "tcp sport 443 notrack", Protocol: "tcp"})
		}),
		home("mark of answers overwritten at home", MarkOverwritten, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].Inside = TimedOut
			e.Here.Drops = append(e.Here.Drops, Drop{Deed: Remarks, Hook: Output, Table: "ip mangle", Chain: "OUTPUT", Rule: "th sport 443 meta mark set 0x1", Protocol: "tcp"})
		}),
		home("an address of the gate that is not served", AddressNotServed, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].After, e.There.Forwards[0].Traced, e.There.Forwards[0].Arrived, e.There.Forwards[0].Unwanted = e.There.Forwards[0].Before, true, true, true
			e.Here.Tunnel.Tried, e.Here.Tunnel.Answered = at("198.51.100.77:55107"), at("198.51.100.77:55107")
			e.Here.Tunnel.Names = []Name{{Endpoint: "gate.example:55107", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.77")}}}
		}),
		onGate("an address of the gate that is not served, seen there", AddressNotServed, func(e *Evidence) {
			e.Here.Unserved = []Unserved{{netip.MustParseAddr("198.51.100.77"), "lo"}}
		}),
		home("gate's forward dropped by a foreign rule about the source", GateForwardDrops, func(e *Evidence) {
			lose(e)
			e.There.Drops = append(e.There.Drops, Drop{Hook: Passing, Table: "inet other", Chain: "f", Rule: "ip saddr 192.0.2.2 drop", Protocol: "tcp", Port: 443})
		}),
		home("dropped on the gate before our rules", GateForwardDrops, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].After, e.There.Forwards[0].Traced, e.There.Forwards[0].Arrived = e.There.Forwards[0].Before, true, true
			e.There.Drops = append(e.There.Drops, Drop{Hook: Arrival, Table: "inet other", Chain: "banned", Rule: "drop", Protocol: "tcp", Port: 443})
		}),
		home("lost on the gate before our rules", GateForwardDrops, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].After, e.There.Forwards[0].Traced, e.There.Forwards[0].Arrived = e.There.Forwards[0].Before, true, true
		}),
		onGate("gate's input dropped by a foreign table", GateInputDrops, silence("", "inet other", "input")),
		home("gate's input dropped, seen from the home", GateInputDrops, func(e *Evidence) { disconnect(e); e.Here.Tunnel.Carries = true }),
		onGate("gate's input dropped by ufw", GateInputDrops, silence("ufw", "ip filter", "ufw-reject-input")),
		onGate("gate's input dropped by firewalld", GateInputDrops, silence("firewalld", "inet firewalld", "filter_IN_public")),
		home("home's input dropped by a foreign table", HomeDrops, func(e *Evidence) { e.There.Forwards[0].Inside = TimedOut; lose(e) }),
		home("provider firewall", ProviderFirewall, func(e *Evidence) { lose(e); e.There.Forwards[0].After = e.There.Forwards[0].Before }),
		home("UDP to the gate blocked", UDPBlocked, disconnect),
		onGate("handshake stale", HandshakeStale, func(e *Evidence) { e.Here.Homes[0].Heard, e.Here.Homes[0].Handshake = false, time.Hour }),
		onGate("wrong key", WrongKey, func(e *Evidence) {
			e.Here.Homes[0].Heard, e.Here.Strangers = false, []netip.AddrPort{own}
		}),
		home("wrong key, seen from the home", WrongKey, func(e *Evidence) { disconnect(e); e.Here.Tunnel.Answered = netip.AddrPort{} }),
		home("clock of another century", ClockWrong, func(e *Evidence) { e.Here.Clock = time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC) }),
		home("clock differs from the gate's", ClockWrong, func(e *Evidence) { e.Here.Clock = now.Add(-3 * time.Hour) }),
		home("endpoint's name resolves elsewhere", NameElsewhere, func(e *Evidence) {
			e.Here.Tunnel.Names[0].Addresses = []netip.Addr{netip.MustParseAddr("203.0.113.99")}
		}),
		home("endpoint's name resolves elsewhere, tunnel down", NameElsewhere, func(e *Evidence) {
			disconnect(e)
			e.Here.Tunnel.Names[0].Addresses = []netip.Addr{netip.MustParseAddr("203.0.113.99")}
		}),
		home("endpoint's name does not resolve", NameFails, func(e *Evidence) {
			disconnect(e)
			e.Here.Tunnel.Names[0] = Name{Endpoint: "gate.example:55107", Error: "no such host"}
		}),
		home("no route to the gate", NoRoute, func(e *Evidence) { disconnect(e); e.Here.Tunnel.Route = false }),
		home("gate's daemon silent", GateDaemonSilent, func(e *Evidence) { disconnect(e); e.Here.Tunnel.Alone, e.Here.Tunnel.Carries = true, true }),
		home("MTU black hole", MTUBlackHole, func(e *Evidence) {
			e.Here.Tunnel.Large, e.There, e.Missing = TimedOut, nil, Silent
		}),
		home("rp_filter strict", ReversePath, func(e *Evidence) {
			e.Here.Machine.ReversePath = 1
			e.Here.Machine.Drift = []Drift{{"~ sysctl net.ipv4.conf.gatelodge.rp_filter: 1 → 2", "net.ipv4.conf.gatelodge.rp_filter"}}
			lose(e)
			e.There.Forwards[0].Inside = TimedOut
		}),
		onGate("our rule deleted", RuleDeleted, func(e *Evidence) {
			e.Here.Machine.Drift = []Drift{{Text: "~ table inet gatelodge: it is missing"}}
		}),
		home("kernel without nft_fib", KernelLacks, func(e *Evidence) {
			e.Here.Machine.Drift, e.Here.Machine.Failed = []Drift{{Text: "~ table inet gatelodge: it is missing"}}, "cannot load the table"
			e.Here.Machine.Lacks, e.Here.Machine.Problems = []string{"nft_fib_inet"}, []string{"cannot load the table"}
		}),
		home("settings of the kernel that can only be read", SettingsReadOnly, func(e *Evidence) {
			e.Here.Machine.Drift, e.Here.Machine.Failed = []Drift{{"~ sysctl net.ipv4.conf.gatelodge.rp_filter: 0 → 2", "net.ipv4.conf.gatelodge.rp_filter"}}, "read-only file system"
			e.Here.Machine.Sealed, e.Here.Machine.Problems = true, []string{"read-only file system"}
		}),
		onGate("what the daemon cannot set up", Trouble, func(e *Evidence) {
			e.Here.Machine.Drift, e.Here.Machine.Failed = []Drift{{Text: "~ table inet gatelodge: it is missing"}}, "no memory"
		}),
		onGate("forwarding off for one interface", ForwardingOff, func(e *Evidence) { e.Here.Machine.NotPassing = []string{"eth0"} }),
		onGate("ip_forward off", ForwardingOff, func(e *Evidence) {
			e.Here.Machine.Forwarding.On, e.Here.Machine.Drift = false, []Drift{{"~ sysctl net.ipv4.ip_forward: 0 → 1", "net.ipv4.ip_forward"}}
		}),
		onGate("conntrack full", ConntrackFull, func(e *Evidence) { e.Here.Machine.Conntrack.Count = 65530; e.Here.Forwards[0].Inside = TimedOut }),
		home("LAN target down", TargetDown, func(e *Evidence) {
			e.Here.Forwards[2].Local, e.There.Forwards[2].Inside, e.Here.Forwards[2].Outside = TimedOut, TimedOut, TimedOut
		}),
		home("LAN target answering elsewhere", AnswersElsewhere, func(e *Evidence) {
			e.Here.Forwards[2].Hidden, e.There.Forwards[2].Inside, e.Here.Forwards[2].Outside = false, TimedOut, TimedOut
		}),
		home("hairpin asked of a router that cannot", Hairpin, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].After = e.There.Forwards[0].Before
			e.Here.Tunnel.Observed = at("192.168.1.10:40000")
		}),
		home("IPv6 missing at home", IPv6OneSide, func(e *Evidence) { e.Here.Machine.IPv6 = false }),
		home("IPv6 missing in the tunnel", IPv6OneSide, func(e *Evidence) { e.Here.Machine.IPv6, e.There.Machine.IPv6 = false, false }),
		onGate("the VPS reachable by ssh only through the tunnel", SSHInTunnelOnly, func(e *Evidence) {
			e.Here.SSHOnlyInTunnel = []netip.AddrPort{at("10.99.0.1:22")}
		}),
		onGate("two homes with one key", TwinKey, func(e *Evidence) { e.Here.Homes[0].Flapped = []netip.AddrPort{own, at("203.0.113.7:4000")} }),
		onGate("two runs of one home", TwinKey, func(e *Evidence) {
			e.Here.Homes[0].Twins, e.Here.Forwards[0].Inside = true, Closed
		}),
		home("a copy has the tunnel", TwinKey, func(e *Evidence) { disconnect(e); e.Here.Tunnel.GaveWay = true }),
		home("a copy stands back", TwinKey, func(e *Evidence) { e.Here.Tunnel.Rival = true }),
		home("two homes with one key, seen from the home", TwinKey, func(e *Evidence) { e.There.Homes[0].Flapped = []netip.AddrPort{own, at("203.0.113.7:4000")} }),
		onGate("a key of another gate", WrongKey, func(e *Evidence) {
			e.Here.Strangers = []netip.AddrPort{at("203.0.113.7:1000"), at("203.0.113.7:1001"), at("203.0.113.7:1002")}
		}),
		onGate("a revoked home that calls", WrongKey, func(e *Evidence) {
			e.Here.Revoked = []Revoked{{"cellar", at("203.0.113.7:4000"), now}}
			e.Here.Strangers = append(e.Here.Strangers, at("203.0.113.7:1000"))
		}),
		home("an open relay", OpenRelay, func(e *Evidence) { e.Here.Forwards[0].Hidden, e.Here.Forwards[0].LocalPort = true, 3128 }),
		home("tunnel prefix overlapping a LAN", TunnelOverlap, func(e *Evidence) {
			e.Here.Machine.Overlap = &Overlap{netip.MustParsePrefix("10.99.0.0/24"), netip.MustParsePrefix("10.99.0.0/16"), "eth0"}
			disconnect(e)
		}),
		onGate("disk full", DiskFull, func(e *Evidence) { e.Here.Machine.Disks[0].FreeBytes = 0 }),
		onGate("disk without inodes", DiskFull, func(e *Evidence) { e.Here.Machine.Disks[0].FreeFiles = 0 }),
		onGate("disk read-only", DiskFull, func(e *Evidence) { e.Here.Machine.Disks[0].ReadOnly = true }),
		onGate("nft too old", NFTTooOld, func(e *Evidence) {
			e.Here.Daemon, e.Here.Machine.NFT, e.Here.Machine.NFTTooOld, e.Here.Machine.NFTNeeded = false, "0.9.8", true, "1.0.2"
		}),
		onGate("nft missing", NFTMissing, func(e *Evidence) {
			e.Here.Daemon, e.Here.Machine.NFT, e.Here.Machine.NFTTooOld, e.Here.Machine.NFTNeeded = false, "", true, "1.0.2"
		}),
		onGate("embedded device although the kernel has one", EmbeddedDevice, func(e *Evidence) { e.Here.Machine.Device = "embedded" }),
		home("home's daemon does not run", DaemonDown, func(e *Evidence) { *e = Evidence{Here: Side{Role: "home", Clock: now}} }),
		onGate("what only the daemon knows", Trouble, func(e *Evidence) { e.Here.Machine.Problems = []string{"no interface has a default route"} }),
	}
}
