package firewall

import (
	"context"
	"fmt"
	"slices"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Observe holds the kernel's table against the wanted one. Drift is looked for
// only where the table was last loaded with what is wanted now, and is found by
// counting: rules of each chain, elements of each set that packets do not fill,
// and parts that are missing or not ours.
//
// The error wraps ErrForeign if a table of that name is not ours.
func (f *Firewall) Observe(ctx context.Context, want plan.Firewall) (plan.ObservedFirewall, error) {
	var seen plan.ObservedFirewall
	d, err := build(want)
	if err != nil {
		return seen, err
	}
	traced := f.tracing.Load() != nil
	loaded, err := readTable(d.table)
	if err != nil {
		return seen, err
	}
	if traced || f.tracing.Load() != nil { // which comes and goes meanwhile
		loaded.chains = slices.DeleteFunc(loaded.chains, func(name string) bool { return name == traceChain })
	}
	seen.Present = loaded.present
	seen.Current = loaded.present && loaded.mark == d.mark()
	if !seen.Current {
		return seen, ctx.Err()
	}
	_, _, err = netfilter.Steadily(func() error {
		seen.Drift, err = d.drift(loaded)
		return err
	})
	if err != nil {
		return seen, fmt.Errorf("cannot read the table %s: %w", d.table, err)
	}
	return seen, ctx.Err()
}

func (d *document) drift(loaded table) ([]string, error) {
	chains, err := d.chainDrift(loaded)
	if err != nil {
		return nil, err
	}
	sets, err := d.setDrift(loaded)
	if err != nil {
		return nil, err
	}
	return slices.Concat(chains, sets, missing("counter", d.counters, loaded.counters)), nil
}

// missing lists names of one kind that should be there, and others that should
// not.
func missing(kind string, want, have []string) []string {
	var drift []string
	present := make(map[string]bool)
	for _, name := range have {
		present[name] = true
	}
	for _, name := range want {
		if !present[name] {
			drift = append(drift, fmt.Sprintf("%s %s is missing", kind, name))
		}
		delete(present, name)
	}
	for _, name := range have {
		if present[name] {
			drift = append(drift, fmt.Sprintf("%s %s was added", kind, name))
		}
	}
	return drift
}

func (d *document) chainDrift(loaded table) ([]string, error) {
	want := []string{d.mark()}
	for _, c := range d.chains {
		want = append(want, c.name)
	}
	drift := missing("chain", want, loaded.chains)
	counts, err := netfilter.CountRules(d.table)
	if err != nil {
		return nil, err
	}
	wanted := d.names().chains
	for _, name := range loaded.chains {
		if c, ours := wanted[name]; ours && counts[name] != len(c.rules) {
			drift = append(drift, fmt.Sprintf("chain %s has %d rules instead of %d", name, counts[name], len(c.rules)))
		}
	}
	return drift, nil
}

func (d *document) setDrift(loaded table) ([]string, error) {
	var want, have []string
	for _, s := range d.sets {
		want = append(want, s.name)
	}
	for _, s := range loaded.sets {
		have = append(have, s.name)
	}
	drift := missing("set", want, have)
	wanted := d.names().sets
	for _, l := range loaded.sets {
		s, ours := wanted[l.name]
		if !ours || s.outlives() {
			continue
		}
		n, err := netfilter.CountElements(d.table, l.name)
		if err != nil {
			return nil, err
		}
		if n != len(s.elements) {
			drift = append(drift, fmt.Sprintf("set %s has %d elements instead of %d", l.name, n, len(s.elements)))
		}
	}
	return drift, nil
}
