package firewall

import (
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// homeShares is the part of all visitors' room that those of one home may take
// by each family: a half and a quarter, so that a quarter always remains for the
// other homes.
var homeShares = map[string]int{"4": 2, "6": 4}

// addHomeShares returns the rules that bound the connections of each home's
// visitors, where there are several homes to share the room.
func (d *document) addHomeShares(g plan.GateFirewall) []string {
	homes := make(map[netip.Addr]bool)
	var last [2]netip.Addr // forwards of one home are often next to each other
	for _, f := range g.Forwards {
		targets := [2]netip.Addr{f.Target4, f.Target6}
		if targets == last {
			continue
		}
		last = targets
		for _, target := range targets {
			homes[target] = target.IsValid()
		}
	}
	var list []string
	for _, fam := range families {
		n := 0
		for target, valid := range homes {
			if valid && fam.has(target) {
				n++
			}
		}
		if n > 1 {
			list = append(list, d.homeShare(fam, n, g.Connections)...)
		}
	}
	return list
}

// homeShare counts as allVisitors does, in lists for each home. How many homes
// there are is rounded up, so that a further one seldom makes another set.
func (d *document) homeShare(fam family, homes, connections int) []string {
	part := homeShares[fam.digit]
	rate := max(newRate(connections)/part, 1)
	share := max(connections/part, 1)
	lists := max(share/listLength, 1)
	size := lists << bits.Len(uint(homes-1))
	rates := fmt.Sprintf("home_rate_%d_%s", connections, fam.digit)
	counts := fmt.Sprintf("homes_%d_%d_%s", connections, size, fam.digit)
	d.sets = append(d.sets,
		set{name: rates, key: fam.addrType, options: []string{"flags dynamic,timeout", "timeout 5s"}, dynamic: true},
		countingSet(counts, fam.addrType+" . mark", size),
	)
	return []string{
		fmt.Sprintf("update @%s { %s daddr limit rate over %[3]d/second burst %[3]d packets } %s", rates, fam.ip(), rate, turnAway),
		fmt.Sprintf("add @%s { %s daddr . jhash %[2]s saddr . th sport mod %d ct count over %d } %s", counts, fam.ip(), lists, share/lists, turnAway),
	}
}
