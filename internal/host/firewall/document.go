package firewall

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// document is a table before it is text. Once it is built, nothing changes it.
type document struct {
	table    string
	gate     bool     // not a home's
	schema   string   // fingerprint of the shape, see shape
	contents string   // fingerprint of the rest, once that is complete
	defines  []define // constants of the rules
	counters []string
	sets     []set
	chains   []chain
	marks    plan.Marks // of the pieces
	pieces   []piece    // what forwards add to a gate's, by their number; see whole
	sums     string     // a sum of all pieces
}

// define is a constant that rules use as $name.
type define struct{ name, value string }

// set is a set, or with a data type a map.
type set struct {
	name     string
	key      string   // types of the key, such as "inet_proto . inet_service"
	data     string   // types of the data; "": not a map
	options  []string // further statements, such as "flags interval"
	elements []string
	dynamic  bool // packets fill it: it outlives changes of the rules
	fleeting bool // its elements end by themselves, and loading the table again must not renew them
}

// outlives reports whether what is in the set stays when the table is loaded
// again, and is not counted when it is compared.
func (s set) outlives() bool { return s.dynamic || s.fleeting }

// chain is a base chain if it has a hook.
type chain struct {
	name  string
	hook  string // such as "type filter hook input priority filter"
	rules []string
}

// rules splits text into its lines, one rule each.
func rules(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// markPrefix starts the name of an empty chain that every table of ours has.
// The rest of the name says what was loaded: the shape and the contents.
const markPrefix = "loaded_"

func (d *document) mark() string { return markPrefix + d.schema + "_" + d.contents }

// fingerprint is short enough for a name, and long enough that no two rulesets
// of a machine ever share one.
func fingerprint(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// shape is what cannot be changed while the table stands: hooks, types and
// flags. Contents, and which sets and chains there are, can.
func (d *document) shape() string {
	var b strings.Builder
	for _, s := range d.sets {
		fmt.Fprintln(&b, s.name, s.key, s.data, s.options)
	}
	for _, c := range d.chains {
		fmt.Fprintln(&b, c.name, c.hook)
	}
	return b.String()
}

// text loads where no table of that name exists.
func (d *document) text() string {
	return fmt.Sprintf("%stable inet %s {\n%s\tchain %s {\n\t}\n}\n", d.constants(), d.table, d.whole().body(), d.mark())
}

func (d *document) constants() string {
	var b strings.Builder
	for _, v := range d.defines {
		fmt.Fprintf(&b, "define %s = %s\n", v.name, v.value)
	}
	return b.String()
}

// body is the inside of the table, less the mark that is made from it.
func (d *document) body() string {
	var b strings.Builder
	for _, c := range d.counters {
		fmt.Fprintf(&b, "\tcounter %s {\n\t}\n", c)
	}
	for _, s := range d.sets {
		s.write(&b)
	}
	for _, c := range d.chains {
		c.write(&b)
	}
	return b.String()
}

func (s set) write(b *strings.Builder) {
	if s.data == "" {
		fmt.Fprintf(b, "\tset %s {\n\t\ttype %s\n", s.name, s.key)
	} else {
		fmt.Fprintf(b, "\tmap %s {\n\t\ttype %s : %s\n", s.name, s.key, s.data)
	}
	for _, o := range s.options {
		fmt.Fprintf(b, "\t\t%s\n", o)
	}
	if len(s.elements) > 0 {
		fmt.Fprintf(b, "\t\telements = {\n\t\t\t%s\n\t\t}\n", strings.Join(s.elements, ",\n\t\t\t"))
	}
	b.WriteString("\t}\n")
}

func (c chain) write(b *strings.Builder) {
	fmt.Fprintf(b, "\tchain %s {\n", c.name)
	if c.hook != "" {
		fmt.Fprintf(b, "\t\t%s; policy accept;\n", c.hook)
	}
	for _, r := range c.rules {
		fmt.Fprintf(b, "\t\t%s\n", r)
	}
	b.WriteString("\t}\n")
}

// lasting is all that makes one table another: the text without what ends by
// itself.
func (d *document) lasting() string {
	lasting := d.without(func(s set) bool { return s.fleeting })
	return lasting.constants() + lasting.body()
}

// without returns the document with the elements of some sets left out.
func (d *document) without(elementsOf func(set) bool) *document {
	copied := *d
	copied.sets = slices.Clone(d.sets)
	for i, s := range copied.sets {
		if elementsOf(s) {
			copied.sets[i].elements = nil
		}
	}
	return &copied
}

// replace deletes whatever table stands and makes a new one.
func (d *document) replace() string { return deletion(d.table) + d.text() }

// refill empties what stands, deletes what is no longer wanted, and fills in
// the rest. Rules go first, for they refer to the rest; then the elements,
// which refer to chains and counters.
func (d *document) refill(loaded table) string {
	d = d.whole()
	var b strings.Builder
	do := func(verb, kind, name string) { fmt.Fprintf(&b, "%s %s inet %s %s\n", verb, kind, d.table, name) }
	want := d.names()
	for _, c := range loaded.chains {
		do("flush", "chain", c)
	}
	for _, s := range loaded.sets {
		if !want.sets[s.name].outlives() {
			do("flush", want.kind(s), s.name)
		}
	}
	for _, s := range loaded.sets {
		if _, kept := want.sets[s.name]; !kept {
			do("delete", want.kind(s), s.name)
		}
	}
	for _, c := range loaded.chains {
		if _, kept := want.chains[c]; !kept {
			do("delete", "chain", c)
		}
	}
	for _, c := range loaded.counters {
		if !want.counters[c] {
			do("delete", "counter", c)
		}
	}
	return b.String() + d.without(func(s set) bool { return s.fleeting && loaded.hasSet(s.name) }).text()
}

// names finds the parts of a document by name.
type names struct {
	counters map[string]bool
	sets     map[string]set
	chains   map[string]chain
}

func (d *document) names() names {
	n := names{make(map[string]bool), make(map[string]set), make(map[string]chain)}
	for _, c := range d.counters {
		n.counters[c] = true
	}
	for _, s := range d.sets {
		n.sets[s.name] = s
	}
	for _, c := range d.chains {
		n.chains[c.name] = c
	}
	n.chains[d.mark()] = chain{name: d.mark()}
	return n
}

// kind is nft's word for a set that stands.
func (n names) kind(s loadedSet) string {
	if s.isMap || n.sets[s.name].data != "" {
		return "map"
	}
	return "set"
}
