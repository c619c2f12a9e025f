package main

import (
	"context"
	"fmt"
	"os"
)

// values are figures by their keys.
type values map[string]float64

// The two that are compared.
const (
	kindGatelodge = "gatelodge"
	kindPlain     = "plain"
)

var kinds = []string{kindGatelodge, kindPlain}

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
	for _, kind := range inOrder(round) {
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
		for _, kind := range inOrder(round + i) {
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
func inOrder(n int) []string {
	if n%2 == 0 {
		return kinds
	}
	return []string{kinds[1], kinds[0]}
}

// logf writes what is going on, beside the report.
func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
