package routing

import (
	"context"
	"errors"

	"github.com/gatelodge/gatelodge/internal/step"
)

// Remove deletes the rules and routes of ours that belong to the instance of
// Gatelodge whose tunnel is the named interface, and returns how many. Those
// of another instance on this machine stay. Addresses go with the interface.
func (r *Routing) Remove(ctx context.Context, name string) (int, error) {
	rules, err := ourRules()
	if err != nil {
		return 0, err
	}
	routes, err := ourRoutes()
	if err != nil {
		return 0, err
	}
	own := newInstance(name, r.remembered(), routes)
	if len(r.remembered()) == 0 {
		own.claimOrphans(routes, rules)
	}
	n := 0
	var errs []error
	took := func(err error) {
		errs = append(errs, err)
		if err == nil {
			n++
		}
		step.At("routing: one deleted")
	}
	for _, rule := range own.rules(rules) {
		took(r.DeleteRule(ctx, rule))
	}
	for _, route := range own.routes(routes) {
		took(r.DeleteRoute(ctx, route))
	}
	return n, errors.Join(errs...)
}
