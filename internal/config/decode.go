package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// decoder fills types from tables. What is wrong goes to the report, and the
// field keeps its default.
type decoder struct {
	*report
	places map[any]int // of values in the file, by the address of the field they filled
}

func newDecoder(r *report) *decoder { return &decoder{report: r, places: map[any]int{}} }

// place returns where the first of the given fields that is in the file has
// its value.
func (d *decoder) place(fields ...any) int {
	for _, f := range fields {
		if at, ok := d.places[f]; ok {
			return at
		}
	}
	return 0
}

// field is a key that a table may have.
type field struct {
	name string
	read func(value)
}

// fields reads a table and reports the keys it must not have.
func (d *decoder) fields(t *table, where string, known ...field) {
	for _, e := range t.entries {
		if d.full() {
			return
		}
		i := slices.IndexFunc(known, func(f field) bool { return f.name == e.name })
		if i < 0 {
			d.unknown(e, where, known)
			continue
		}
		known[i].read(e.value)
	}
}

func (d *decoder) unknown(e entry, where string, known []field) {
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.name
	}
	what := "key"
	if e.value.table != nil {
		what = "table"
	}
	hint := suggest(e.name, names)
	if hint == "" {
		hint = "it may have " + strings.Join(names, ", ")
	}
	d.add(e.at, problem{fmt.Sprintf("%s has no %s %q", where, what, bounded(e.name)), hint})
}

// insideTables are those that are short, and written within the table of what they
// belong to.
var insideTables = map[string]string{"limit": `limit = { new_connections = "20/second", connections = 200 }`}

// tableField is a table within a table.
func (d *decoder) tableField(name string, read func(*table)) field {
	return field{name, func(v value) {
		if v.table == nil {
			hint := "write it as [" + name + "] with its keys below"
			if inside, ok := insideTables[name]; ok {
				hint = "write it as " + inside
			}
			d.add(v.at, problem{fmt.Sprintf("%s must be a table, not %s", name, v.describe()), hint})
			return
		}
		read(v.table)
	}}
}

// namedTables is a table whose keys are names that the owner chose, each with
// a table of its own.
func (d *decoder) namedTables(what string, read func(entry)) field {
	return d.tableField(what, func(t *table) {
		if len(t.entries) > maxForwards {
			d.addf(t.at, "there are %d tables [%s.NAME]; at most %d are allowed", len(t.entries), what, maxForwards)
			return
		}
		for _, e := range t.entries {
			if err := checkName(e.name); err != nil {
				d.add(e.at, err)
				continue
			}
			if e.value.table == nil {
				d.add(e.at, problem{fmt.Sprintf("%s %q must be a table, not %s", what, e.name, e.value.describe()), fmt.Sprintf("write [%s.%s] with its keys below", what, e.name)})
				continue
			}
			read(e)
		}
	})
}

// parsed is a key whose text a function understands.
func parsed[T any](d *decoder, name string, to *T, parse func(string) (T, error)) field {
	return field{name, func(v value) {
		if v.kind != unstable.String {
			d.wrongKind(name, "a text", v)
			return
		}
		d.places[to] = v.at
		got, err := parse(v.text)
		if err != nil {
			d.add(v.at, err)
			return
		}
		*to = got
	}}
}

// number is a key with a whole number within bounds.
func number[T int | uint16 | uint32](d *decoder, name string, to *T, low, high int64) field {
	return field{name, func(v value) {
		d.places[to] = v.at
		if n, ok := d.integer(name, v, low, high); ok {
			*to = T(n)
		}
	}}
}

func (d *decoder) integer(name string, v value, low, high int64) (int64, bool) {
	if v.kind != unstable.Integer {
		d.wrongKind(name, "a whole number", v)
		return 0, false
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(v.text, "_", ""), 0, 64)
	if err != nil || n < low || n > high {
		d.addf(v.at, "%s is %s; it must be a whole number from %d to %d", name, bounded(v.text), low, high)
		return 0, false
	}
	return n, true
}

// placed is a value with its place in the file.
type placed[T any] struct {
	value T
	at    int
}

// listed is a key with a list of texts, each of which a function
// understands. A single text stands for a list of one.
func listed[T any](d *decoder, name string, to *[]placed[T], parse func(string) (T, error)) field {
	return field{name, func(v value) {
		d.places[to] = v.at
		items := v.list
		switch v.kind {
		case unstable.Array:
		case unstable.String:
			items = []value{v}
		default:
			d.wrongKind(name, "a list of texts", v)
			return
		}
		*to = make([]placed[T], 0, len(items))
		for _, item := range items {
			if item.kind != unstable.String {
				d.wrongKind("each of "+name, "a text", item)
				continue
			}
			got, err := parse(item.text)
			if err != nil {
				d.add(item.at, err)
				continue
			}
			*to = append(*to, placed[T]{got, item.at})
		}
	}}
}

// nonEmpty adds to a list's field that an empty list is an error: it could
// mean nothing or everything.
func nonEmpty(d *decoder, f field, hint string) field {
	return field{f.name, func(v value) {
		if v.kind == unstable.Array && len(v.list) == 0 {
			d.add(v.at, problem{f.name + " is empty", hint})
			return
		}
		f.read(v)
	}}
}

// maxPortEntries bounds the lists whose entries are compared with each other.
const maxPortEntries = 1024

// portList adds to the field of a list of ports that it has a bound.
func portList(d *decoder, f field) field {
	return field{f.name, func(v value) {
		if len(v.list) > maxPortEntries {
			d.add(v.at, problem{fmt.Sprintf("%s has %d entries; at most %d are allowed", f.name, len(v.list), maxPortEntries), "write ranges, such as 8000-8999/tcp"})
			return
		}
		f.read(v)
	}}
}

func (d *decoder) wrongKind(name, want string, v value) {
	hint := ""
	if v.kind == unstable.Integer || v.kind == unstable.Float || v.kind == unstable.Bool {
		switch want {
		case "a text":
			hint = fmt.Sprintf("put it in quotes: %q", v.text)
		case "a list of texts":
			hint = fmt.Sprintf("write [%q]", v.text)
		}
	}
	if v.kind == unstable.String && want == "a whole number" {
		hint = "write it without quotes"
	}
	d.add(v.at, problem{fmt.Sprintf("%s must be %s, not %s", name, want, v.describe()), hint})
}

// describe names a value as an error does.
func (v value) describe() string {
	switch v.kind {
	case unstable.String:
		return fmt.Sprintf("the text %q", bounded(v.text))
	case unstable.Integer, unstable.Float:
		return "the number " + bounded(v.text)
	case unstable.Bool:
		return v.text
	case unstable.Array:
		return "a list"
	case unstable.Table:
		return "a table"
	default:
		return "the date or time " + bounded(v.text)
	}
}

// unique reports what is in a list twice.
func unique[T comparable](d *decoder, name string, list []placed[T]) {
	first := map[T]int{}
	for _, p := range list {
		if at, twice := first[p.value]; twice && !d.full() {
			d.addf(p.at, "%s has %v already, at %s", name, p.value, d.src.place(at))
			continue
		}
		first[p.value] = p.at
	}
}

// values returns a list without the places.
func values[T any](list []placed[T]) []T {
	var all []T
	for _, p := range list {
		all = append(all, p.value)
	}
	return all
}
