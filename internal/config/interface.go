package config

import (
	"fmt"
	"slices"
	"strings"
)

// maxInterface is the longest name the kernel takes (IFNAMSIZ less its zero
// byte).
const maxInterface = 15

// parseInterface reads the name of the tunnel's interface. It must do for the
// kernel, for sysctl(8), and for nft(8), where our table has the same name.
func parseInterface(s string) (string, error) {
	const hint = "use up to 15 letters, digits, hyphens and underscores, a letter first"
	if s == "" || len(s) > maxInterface {
		return "", problem{fmt.Sprintf("%q has %d characters; an interface's name has 1 to %d", bounded(s), len(s), maxInterface), hint}
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if letter || i > 0 && (r >= '0' && r <= '9' || r == '-' || r == '_') {
			continue
		}
		return "", problem{fmt.Sprintf("interface %q: character %q at place %d is not allowed", s, r, i+1), hint}
	}
	if taken := takenName(s); taken != "" {
		return "", problem{fmt.Sprintf("interface %q: the name %s", s, taken), `take another, such as "gatelodge"`}
	}
	return s, nil
}

func takenName(s string) string {
	switch {
	case s == "lo":
		return "is that of the loopback interface"
	case s == "all" || s == "default":
		return "means every interface to sysctl(8)"
	case slices.Contains(strings.Fields(nftWords), s):
		return "is a word of the language of nft(8)"
	default:
		return ""
	}
}

// nftWords are what nft(8) does not take for a table's name: each word was
// tried with version 1.0.6, and those of later versions are added.
const nftWords = `
accept add ah all and arp auto-merge bridge cgroup chain comment comp constant
continue counter cpu create ct day dccp define delete describe destroy device
devices dnat drop dst dup dynamic ecn egress element elements eq erspan esp
ether exists expires export exthdr fib flags flow flowtable flush frag fwd
gc-interval ge geneve get goto gre gretap gt handle hbh hook hour ibriport
ibrname icmp icmpv6 igmp iif iifgroup iifname iiftype import include index
inet ingress insert interval ip ip6 ipsec jhash jump last le limit list log lt
map mark masquerade meta meter mh missing monitor ne netdev nftrace not notrack
numgen obriport obrname offload oif oifgroup oifname oiftype or osf pkttype
policy position priority queue quota random redefine redirect reject rename
replace reset return rt rt0 rt2 rtclassid rule ruleset sctp secmark set size
skgid skuid snat socket srh symhash synproxy table tcp th time timeout tproxy
tunnel type typeof udp udplite undefine update vlan vmap vxlan xor xt`
