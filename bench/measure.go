package main

import (
	"context"
	"fmt"
	"os"
	"slices"
)

// values are figures by their keys.
type values map[string]float64

// The two that are compared.
const (
	kindGatelodge = "gatelodge"
	kindPlain     = "plain"
	kindBeside    = "beside" // another build of Gatelodge
)

// kinds are the two of this run.
func (o options) kinds() []string { return []string{kindGatelodge, o.other()} }

// other is what Gatelodge is compared with.
func (o options) other() string {
	if o.Beside != "" {
		return kindBeside
	}
	return kindPlain
}

// measure goes through all rounds.
func measure(ctx context.Context, o options) (report, error) {
	r := newReport(o)
	for round := range o.Rounds {
		logf("round %d of %d", round+1, o.Rounds)
		if err := measureRound(ctx, o, round, r); err != nil {
			return r, fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return r, r.addSizes(o)
}

// measureRound sets both up, and takes each figure of both before the next.
func measureRound(ctx context.Context, o options, round int, r report) (err error) {
	workers := map[string]*worker{}
	for _, kind := range o.inOrder(round) {
		w, err := startWorker(ctx, o, kind)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		defer w.end()
		workers[kind] = w
		v, err := w.answer()
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		r.add(kind, v)
	}
	for i, f := range figures {
		for _, kind := range o.inOrder(round + i) {
			v, err := workers[kind].ask(f.key)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", kind, f.key, err)
			}
			r.add(kind, v)
		}
	}
	return nil
}

// inOrder lets each of the two go first every other time.
func (o options) inOrder(n int) []string {
	kinds := o.kinds()
	if n%2 == 1 {
		slices.Reverse(kinds)
	}
	return kinds
}

// logf writes what is going on, beside the report.
func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
