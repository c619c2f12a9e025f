package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// others remembers what other firewalls of this machine drop. Their rules are
// read anew only when the kernel's have changed, by whomever.
type others struct {
	mu         sync.Mutex
	generation uint32
	read       bool
	problems   []string
}

// look finds out what keeps packets of ours from passing, and says in the log
// what is new.
func (o *others) look(ctx context.Context, want plan.State, facts plan.Facts, log *slog.Logger) {
	o.mu.Lock()
	defer o.mu.Unlock()
	generation, err := host.RulesGeneration()
	if err == nil && o.read && generation == o.generation {
		return
	}
	drops, findErr := host.OthersDrops(ctx, want, facts)
	if findErr != nil {
		log.Debug("the rules of other firewalls could not be read", "error", findErr)
		return
	}
	problems := describe(drops)
	for _, p := range problems {
		if !slices.Contains(o.problems, p) {
			log.Warn("another firewall is in the way", "problem", p)
		}
	}
	if len(problems) == 0 && len(o.problems) > 0 {
		log.Info("no other firewall is in the way any more")
	}
	o.generation, o.read, o.problems = generation, err == nil, problems
}

// last returns what the last look has found.
func (o *others) last() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.problems
}

// describe makes one sentence of all that one rule drops.
func describe(drops []host.OthersDrop) []string {
	type place struct{ rule, remedy string }
	var places []place
	dropped := map[place][]string{}
	for i, d := range doctorDrops(drops) {
		p := place{d.String(), d.Remedy}
		if dropped[p] == nil {
			places = append(places, p)
		}
		if what := drops[i].Packet.What; !slices.Contains(dropped[p], what) {
			dropped[p] = append(dropped[p], what)
		}
	}
	var problems []string
	for _, p := range places {
		problems = append(problems, fmt.Sprintf("%s drops %s; to let that through: %s", p.rule, strings.Join(dropped[p], ", "), p.remedy))
	}
	return problems
}
