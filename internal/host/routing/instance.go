package routing

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// ErrClash reports that another instance of Gatelodge on this machine uses what
// this one is to use.
var ErrClash = errors.New("another instance of Gatelodge uses it: give each a table, a rule_priority and an answer (under [marks]) of its own, or remove what the other has left with its gatelodge down")

// instance tells what belongs to one instance of Gatelodge on this machine. All
// of them use one protocol number, so it is the routing tables that belong to
// somebody: those that the instance wants or remembers, and those with a route
// to its interface.
type instance struct {
	name   string // of the interface
	tables []int
}

func newInstance(name string, tables []int, routes []plan.Route) *instance {
	own := &instance{name, slices.Clone(tables)}
	for _, route := range routes {
		if route.Interface == name {
			own.tables = append(own.tables, route.Table)
		}
	}
	return own
}

// claimOrphans is for an instance that remembers nothing, as an older version of
// this program did not: if its interface has gone and taken its routes along,
// its tables are those that no other instance uses.
func (own *instance) claimOrphans(routes []plan.Route, rules []plan.Rule) {
	others := own.others(routes)
	if len(others) > 0 && len(own.tables) > 0 {
		return
	}
	for _, table := range TablesOf(plan.Routing{Routes: routes, Rules: rules}) {
		if _, used := others[table]; !used {
			own.tables = append(own.tables, table)
		}
	}
}

// others maps the tables that lead to other interfaces to those.
func (own *instance) others(routes []plan.Route) map[int]string {
	others := map[int]string{}
	for _, route := range routes {
		if !route.Blackhole && route.Interface != own.name {
			others[route.Table] = route.Interface
		}
	}
	return others
}

// routes returns those of the instance.
func (own *instance) routes(all []plan.Route) []plan.Route {
	var list []plan.Route
	for _, route := range all {
		if route.Interface == own.name || slices.Contains(own.tables, route.Table) {
			list = append(list, route)
		}
	}
	return list
}

// rules returns those of the instance.
func (own *instance) rules(all []plan.Rule) []plan.Rule {
	var list []plan.Rule
	for _, rule := range all {
		if slices.Contains(own.tables, tableBehind(rule, all)) {
			list = append(list, rule)
		}
	}
	return list
}

// clash reports what of the wanted state another instance uses. What an earlier
// process of this instance has used is its own, whatever its interface was.
func (own *instance) clash(want plan.Routing, remembered []int, routes []plan.Route, rules []plan.Rule) error {
	others := own.others(routes)
	for _, table := range TablesOf(want) {
		if name, used := others[table]; used && !slices.Contains(remembered, table) {
			return fmt.Errorf("routing table %d leads to interface %s: %w", table, name, ErrClash)
		}
	}
	for _, o := range rules {
		name, used := others[tableBehind(o, rules)]
		if !used || slices.Contains(own.tables, tableBehind(o, rules)) {
			continue
		}
		for _, w := range want.Rules {
			switch {
			case o.IPv6 != w.IPv6:
			case o.Priority == w.Priority:
				return fmt.Errorf("a routing rule of interface %s has priority %d: %w", name, o.Priority, ErrClash)
			case o.Table != plan.MainTable && w.Mark != 0 && o.Mark == w.Mark && o.Mask == w.Mask:
				return fmt.Errorf("a routing rule of interface %s is for packets with mark %#x: %w", name, o.Mark, ErrClash)
			}
		}
	}
	return nil
}

// TablesOf returns the routing tables that a wanted state uses, the machine's
// main one left out.
func TablesOf(want plan.Routing) []int {
	var tables []int
	add := func(table int) {
		if table != plan.MainTable && !slices.Contains(tables, table) {
			tables = append(tables, table)
		}
	}
	for _, route := range want.Routes {
		add(route.Table)
	}
	for _, rule := range want.Rules {
		add(rule.Table)
	}
	return tables
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
