package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// GateDefaults is what a new gate.toml starts with. Zero values stand for the
// defaults of the file.
type GateDefaults struct {
	Endpoints  []string
	Prefix4    netip.Prefix
	Prefix6    netip.Prefix // zero: no IPv6 in the tunnel
	ListenPort uint16
	SSHPorts   []uint16
	Input      string // "protect" or "leave"
}

// The parts of a new gate.toml. A line that is commented out shows the
// default of its key.
const gateTemplate = `# What this gate is and what homes may do with it. After a change:
#   gatelodge check    says whether the file is in order
#   gatelodge plan     shows what would change
#   gatelodge apply    does it
version = 1

[tunnel]
# interface = "gatelodge"
%-33s# WireGuard, UDP: open it in the provider's firewall too
# control_port = 55108           # inside the tunnel only
prefix4 = %s
%s
# device = "auto"                # or "kernel", "embedded"
# mtu = 0                        # 0: derived

[public]
# What homes dial: up to four names or addresses, the best first. A name
# lets the gate move to another address.
%s
# The addresses at which visitors arrive, if not those of this machine.
# addresses = ["198.51.100.1"]

[firewall]
%-33s# "leave" filters nothing that is for this machine itself
%-33s# beside those an sshd is found on; never forwarded
# accept = ["80/tcp"]            # services of the gate itself; never forwarded
# accept_protocols = ["gre"]     # tunnels that end on this machine

[policy]
# What homes may publish. A [home.NAME] table can say otherwise for one home.
# ports = ["1-65535"]
# deny = ["25/tcp"]
# max_forwards = 256
`

// NewGateFile returns a first gate.toml, with comments, that reads as d.
func NewGateFile(d GateDefaults) []byte {
	if d.ListenPort == 0 {
		d.ListenPort = DefaultListenPort
	}
	if !d.Prefix4.IsValid() {
		d.Prefix4 = DefaultPrefix4()
	}
	if d.Input == "" {
		d.Input = "protect"
	}
	prefix6 := `# prefix6 = ""                   # a /64 brings IPv6 into the tunnel`
	if d.Prefix6.IsValid() {
		prefix6 = "prefix6 = " + quote(d.Prefix6.String())
	}
	endpoints := `# endpoints = ["198.51.100.1"]`
	if len(d.Endpoints) > 0 {
		endpoints = "endpoints = " + quoteList(d.Endpoints)
	}
	return fmt.Appendf(nil, gateTemplate,
		fmt.Sprint("listen_port = ", d.ListenPort),
		quote(d.Prefix4.String()), prefix6, endpoints,
		"input = "+quote(d.Input),
		"ssh_ports = "+numberList(d.sshPorts()))
}

func (d GateDefaults) sshPorts() []uint16 {
	if d.SSHPorts == nil {
		return []uint16{DefaultSSHPort}
	}
	return d.SSHPorts
}

func numberList(numbers []uint16) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(int(n))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

const homeTemplate = `# What this home publishes, and how. After a change:
#   gatelodge check    says whether the file is in order
#   gatelodge plan     shows what would change
#   gatelodge apply    does it
version = 1

[tunnel]
# interface = "gatelodge"
# device = "auto"                # or "kernel", "embedded"
# mtu = 0                        # 0: derived
# table = 6700                   # routing table of answers to visitors
# rule_priority = 100            # of the first of our routing rules

[firewall]
# private_sources = "drop"       # or "accept" visitors with private addresses

# A forward, as "gatelodge expose 80/tcp 443 --name web" writes it:
#
# [forward.web]
# ports = ["80/tcp", "443"]      # 443 alone: tcp and udp; "2222:22/tcp": 2222 there is 22 here
# to = "192.168.1.20"            # another device of this network; default: this machine
# source = "auto"                # or "preserve", "masquerade": whose address the service sees
# allow = ["198.51.100.0/24"]    # default: everyone
# limit = { new_connections = "20/second", connections = 200 }   # for each visitor
`

// NewHomeFile returns a first home.toml, with comments, that reads as the
// defaults.
func NewHomeFile() []byte { return []byte(homeTemplate) }
