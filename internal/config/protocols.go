package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// protocols are IP protocols by the names that are in use for them; IANA's
// numbers. Those of tunnels over IPv4 have several.
var protocols = map[string]forward.Protocol{
	"icmp": 1, "tcp": forward.TCP, "udp": forward.UDP, "icmpv6": 58, // see otherwise
	"igmp": 2,
	"ipip": 4,
	"6in4": 41, "sit": 41, "ipv6": 41,
	"gre":  47,
	"esp":  50,
	"ah":   51,
	"ospf": 89,
	"vrrp": 112,
	"l2tp": 115,
	"sctp": 132,
}

// otherwise says how those are let in that accept_protocols is not for.
var otherwise = map[forward.Protocol]string{
	1:           "the ICMP that a gate needs is always let in",
	forward.TCP: "accept takes its ports, such as 80/tcp",
	forward.UDP: "accept takes its ports, such as 53/udp",
	58:          "the ICMPv6 that a gate needs is always let in",
}

// parseProtocol reads the name or the number of an IP protocol.
func parseProtocol(s string) (forward.Protocol, error) {
	p, named := protocols[s]
	if !named {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil || strconv.FormatUint(n, 10) != s {
			names := slices.Sorted(maps.Keys(protocols))
			hint := suggest(s, names)
			if hint == "" {
				hint = "write a name such as gre, esp, 6in4, or IANA's number"
			}
			return 0, problem{fmt.Sprintf("%q is not an IP protocol", bounded(s)), hint}
		}
		p = forward.Protocol(n)
	}
	if hint, no := otherwise[p]; no {
		return 0, problem{fmt.Sprintf("IP protocol %d cannot be accepted as a whole", uint8(p)), hint}
	}
	return p, nil
}
