package firewall

import (
	"context"
	"errors"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/step"
)

// known is a table of which we are sure: it has been compared with the kernel's,
// or was made by a change of one that had, and nobody has touched anything since
// while the ruleset is the same.
//
// What packets add to sets, and elements that end by themselves, are no
// transactions; they are not compared either.
type known struct {
	ruleset  netfilter.Ruleset
	document *document
}

// build is build with the help of what was built last.
func (f *Firewall) build(want plan.Firewall) (*document, error) {
	d, err := buildAfter(f.built.Load(), want)
	if err == nil && d.gate {
		f.built.Store(d)
	}
	return d, err
}

// know notes which document the table is in order by, as look says, nil if it is
// not, unless somebody changes nf_tables meanwhile.
func (f *Firewall) know(look func() (*document, error)) error {
	before, err := netfilter.ReadRuleset()
	if err != nil {
		return err
	}
	d, err := look()
	if err != nil || d == nil {
		return err
	}
	after, err := netfilter.ReadRuleset()
	if err == nil && before == after {
		f.known.Store(&known{after, d})
	}
	return err
}

// stillKnown returns the table of that name as it stands, if that is known.
func (f *Firewall) stillKnown(table string) (*known, bool) {
	k := f.known.Load()
	if k == nil || k.document.table != table {
		return nil, false
	}
	now, err := netfilter.ReadRuleset()
	return k, err == nil && now == k.ruleset
}

// difference returns what makes the wanted table of the one that stands, if
// that is known and need not be filled again.
func (f *Firewall) difference(d *document) (*delta, bool) {
	k, stands := f.stillKnown(d.table)
	if !stands {
		return nil, false
	}
	return k.document.delta(d)
}

// update makes the difference to what stands, and reports whether it has. It
// does nothing where others have changed nf_tables since.
func (f *Firewall) update(ctx context.Context, d *document) bool {
	k := f.known.Load()
	change, ok := f.difference(d)
	if !ok || ctx.Err() != nil {
		return false
	}
	if k.document.mark() == d.mark() {
		return true
	}
	if err := f.carryOut(ctx, change, k.ruleset); err != nil {
		return false // and it is filled again
	}
	f.known.Store(&known{k.ruleset.Next(), d})
	return true
}

// carryOut makes a change to a ruleset.
func (f *Firewall) carryOut(ctx context.Context, change *delta, on netfilter.Ruleset) error {
	messages, err := change.messages()
	if errors.Is(err, errNeedsNft) {
		return f.load(ctx, change.text())
	}
	if err != nil {
		return err
	}
	conn, err := netfilter.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	step.At("firewall: before netlink")
	err = netfilter.Transact(conn, on, messages)
	step.At("firewall: after netlink")
	return err
}

// loadBeside loads something else of ours than the table's contents, after which
// as much is known of those as before.
func (f *Firewall) loadBeside(ctx context.Context, text string) error {
	k := f.known.Load()
	if err := f.load(ctx, text); err != nil || k == nil {
		return err
	}
	now, err := netfilter.ReadRuleset()
	if err == nil && now == k.ruleset.Next() {
		f.known.CompareAndSwap(k, &known{now, k.document})
	}
	return err
}
