package host

import (
	"fmt"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// anyPort is one that no rule of others is likely to name: what drops it drops
// whatever it does not know.
const anyPort = 50000

// expected are the forwards for whose visitors others' rules are asked. Where no
// home publishes anything yet, it is one that stands for all to come: what the
// owner agrees to before the first home is to hold for it.
func expected(g plan.GateFirewall) []forward.Grant {
	if len(g.Forwards) > 0 {
		return g.Forwards[:min(len(g.Forwards), mostAsked)]
	}
	f := forward.Grant{Published: forward.Published{Ports: []forward.Ports{{Protocol: forward.TCP, Range: forward.Range{First: anyPort, Last: anyPort}}}}}
	for _, a := range g.Addresses {
		if a.Is4() {
			f.Target4 = a
		} else {
			f.Target6 = a
		}
	}
	return []forward.Grant{f}
}

// visitorsOf names them. No forward that is granted has the number 0.
func visitorsOf(f forward.Grant) string {
	if f.ID == 0 {
		return "visitors of whatever a home will publish"
	}
	return fmt.Sprintf("visitors of %s", f.Ports[0])
}
