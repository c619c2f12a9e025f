package firewall

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Observe holds the kernel's table against the wanted one. Drift is looked for
// only where the table was last loaded with what is wanted now, and is found by
// counting: rules of each chain, elements of each set that packets do not fill,
// and parts that are missing or not ours. While nobody has changed anything in
// nf_tables since that was done last, it is not done again.
//
// The error wraps ErrForeign if a table of that name is not ours.
func (f *Firewall) Observe(ctx context.Context, want plan.Firewall) (plan.ObservedFirewall, error) {
	d, err := f.build(want)
	if err != nil {
		return plan.ObservedFirewall{}, err
	}
	if k, stands := f.stillKnown(d.table); stands {
		return plan.ObservedFirewall{Present: true, Current: k.document.mark() == d.mark()}, ctx.Err()
	}
	var seen plan.ObservedFirewall
	err = f.know(func() (*document, error) {
		var stands *document
		seen, stands, err = f.compare(d)
		return stands, err
	})
	return seen, errors.Join(err, ctx.Err())
}

// compare reads the table and holds it against d. It also returns the document
// that the table is in order by, if it is so by d or by what was loaded last.
func (f *Firewall) compare(d *document) (plan.ObservedFirewall, *document, error) {
	var seen plan.ObservedFirewall
	traced := f.tracing.Load() != nil
	loaded, err := readTable(d.table)
	if err != nil {
		return seen, nil, err
	}
	if traced || f.tracing.Load() != nil { // which comes and goes meanwhile
		loaded.chains = slices.DeleteFunc(loaded.chains, func(name string) bool { return name == traceChain })
	}
	seen.Present = loaded.present
	seen.Current = loaded.present && loaded.mark == d.mark()
	stands := d
	if k := f.known.Load(); !seen.Current {
		if k == nil || !loaded.present || k.document.table != d.table || loaded.mark != k.document.mark() {
			return seen, nil, nil
		}
		stands = k.document
	}
	var drift []string
	_, _, err = netfilter.Steadily(func() error {
		drift, err = stands.drift(loaded)
		return err
	})
	if err != nil {
		return seen, nil, fmt.Errorf("cannot read the table %s: %w", d.table, err)
	}
	if seen.Current {
		seen.Drift = drift
	}
	if len(drift) > 0 {
		stands = nil
	}
	return seen, stands, nil
}

func (d *document) drift(loaded table) ([]string, error) {
	d = d.whole()
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
