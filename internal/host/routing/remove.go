package routing

import (
	"context"
	"errors"
	"slices"

	"github.com/gatelodge/gatelodge/internal/plan"
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
	belongs := tablesOf(name, routes)
	n := 0
	var errs []error
	took := func(err error) {
		errs = append(errs, err)
		if err == nil {
			n++
		}
		step.At("routing: one deleted")
	}
	for _, rule := range rules {
		if belongs(tableBehind(rule, rules)) {
			took(r.DeleteRule(ctx, rule))
		}
	}
	for _, route := range routes {
		if route.Interface == name || route.Blackhole && belongs(route.Table) {
			took(r.DeleteRoute(ctx, route))
		}
	}
	return n, errors.Join(errs...)
}

// tablesOf tells which tables the instance with the named interface uses. As
// long as no route of ours leads to another interface, there is no other
// instance, and everything is its own. Otherwise its tables are those with a
// route to its interface; if that has gone and taken its routes along, those
// that no other instance uses.
func tablesOf(name string, routes []plan.Route) func(table int) bool {
	var own, others []int
	for _, route := range routes {
		switch route.Interface {
		case "": // a blackhole
		case name:
			own = append(own, route.Table)
		default:
			others = append(others, route.Table)
		}
	}
	return func(table int) bool {
		if len(others) == 0 || len(own) == 0 {
			return !slices.Contains(others, table)
		}
		return slices.Contains(own, table)
	}
}

// tableBehind returns the table of our own that a rule serves. Rules that look
// up the main table except for some packets stand before those that send the
// same packets to our table: with the same mark, or else as the nearest.
func tableBehind(rule plan.Rule, rules []plan.Rule) int {
	if rule.Table != plan.MainTable {
		return rule.Table
	}
	nearest := plan.Rule{Table: plan.MainTable}
	for _, o := range rules {
		if o.IPv6 != rule.IPv6 || o.Table == plan.MainTable || o.Priority < rule.Priority {
			continue
		}
		if rule.Mask != 0 && o.Mark == rule.Mark && o.Mask == rule.Mask {
			return o.Table
		}
		if nearest.Table == plan.MainTable || o.Priority < nearest.Priority {
			nearest = o
		}
	}
	return nearest.Table
}
