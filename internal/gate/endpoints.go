package gate

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// endpointRound is how often the whereabouts of the homes are written down.
// After a reboot the gate can then answer visitors at once, instead of
// waiting for each home to call.
const endpointRound = 10 * time.Second

func (g *Gate) rememberEndpoints(ctx context.Context) error {
	observed, err := g.machine.Peers(ctx)
	if err != nil {
		return err
	}
	return g.memory.remember(observed)
}

// remember writes down where homes are, if that is news.
func (m *memory) remember(observed []plan.ObservedPeer) error {
	err := m.change(func(r *registry.State) error {
		news := false
		for _, h := range r.Homes {
			i := slices.IndexFunc(observed, func(p plan.ObservedPeer) bool { return p.PublicKey == h.PublicKey })
			if i >= 0 && observed[i].Endpoint != (netip.AddrPort{}) && r.SetEndpoint(h.Name, observed[i].Endpoint) {
				news = true
			}
		}
		if !news {
			return errNoNews
		}
		return nil
	})
	if errors.Is(err, errNoNews) {
		return nil
	}
	return err
}

// errNoNews ends a change that would change nothing.
var errNoNews = errors.New("nothing is new")
