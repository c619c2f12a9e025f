package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// table is a table of the file, whichever way it is written.
type table struct {
	at      int // where it is first named
	header  bool
	entries []entry // in the order of the file
	index   map[string]int
}

// entry is a key of a table with its value.
type entry struct {
	name  string
	at    int // of the key
	value value
}

// value is a value with its place.
type value struct {
	kind  unstable.Kind // Table for every kind of table
	at    int
	text  string // of a string its contents, of other scalars their spelling
	list  []value
	table *table
}

func newTable(at int) *table { return &table{at: at, index: map[string]int{}} }

func (t *table) lookup(name string) (*entry, bool) {
	i, ok := t.index[name]
	if !ok {
		return nil, false
	}
	return &t.entries[i], true
}

func (t *table) add(e entry) {
	t.index[e.name] = len(t.entries)
	t.entries = append(t.entries, e)
}

// readDocument reads the whole file as a tree. It returns nil if the file is
// not TOML; what is wrong is in r either way.
func readDocument(r *report) *table {
	if at, err := r.src.checkText(); err != nil {
		r.add(at, err)
		return nil
	}
	d := document{report: r, root: newTable(0)}
	d.current = d.root
	d.parser.Reset(r.src.data)
	for !d.full() && d.parser.NextExpression() {
		d.expression(d.parser.Expression())
	}
	if err := d.parser.Error(); err != nil {
		d.syntax(err)
		return nil
	}
	if r.full() {
		return nil
	}
	return d.root
}

// document grows the tree from the parser's expressions.
type document struct {
	*report
	parser  unstable.Parser
	root    *table
	current *table // of the last header
}

func (d *document) expression(n *unstable.Node) {
	switch n.Kind {
	case unstable.Table:
		d.current = d.open(d.keys(n))
	case unstable.ArrayTable:
		keys := d.keys(n)
		d.add(keys[0].at, problem{fmt.Sprintf("[[%s]] makes a list of tables", joinKeys(keys)), "give each table a name and single brackets, such as [forward.web]"})
		d.current = newTable(keys[0].at)
	case unstable.KeyValue:
		d.set(d.current, n)
	}
}

// keys returns the parts of an expression's dotted key.
func (d *document) keys(n *unstable.Node) []entry {
	var keys []entry
	for it := n.Key(); it.Next(); {
		keys = append(keys, entry{name: string(it.Node().Data), at: int(it.Node().Raw.Offset)})
	}
	return keys
}

// open returns the table that a header names. After an error it returns one
// that belongs nowhere, so that the header's keys do harm nowhere.
func (d *document) open(keys []entry) *table {
	last := len(keys) - 1
	parent, ok := d.descend(d.root, keys[:last])
	if !ok {
		return newTable(keys[0].at)
	}
	t, ok := d.descend(parent, keys[last:])
	if !ok {
		return newTable(keys[0].at)
	}
	if t.header {
		d.add(keys[last].at, problem{fmt.Sprintf("the table [%s] is already at %s", joinKeys(keys), d.src.place(t.at)), "put their keys together, or name one of them otherwise"})
		return newTable(keys[0].at)
	}
	t.header, t.at = true, keys[last].at
	return t
}

// descend follows keys down from t and makes the tables that are not there.
func (d *document) descend(t *table, keys []entry) (*table, bool) {
	for _, k := range keys {
		e, ok := t.lookup(k.name)
		switch {
		case !ok:
			k.value = value{kind: unstable.Table, at: k.at, table: newTable(k.at)}
			t.add(k)
			t = k.value.table
		case e.value.table == nil:
			d.addf(k.at, "%q cannot be a table: it has a value at %s", bounded(k.name), d.src.place(e.at))
			return nil, false
		default:
			t = e.value.table
		}
	}
	return t, true
}

// set enters a `key = value` below t.
func (d *document) set(t *table, n *unstable.Node) {
	keys := d.keys(n)
	last := keys[len(keys)-1]
	t, ok := d.descend(t, keys[:len(keys)-1])
	if !ok {
		return
	}
	if before, ok := t.lookup(last.name); ok {
		d.add(last.at, problem{fmt.Sprintf("%q is set already, at %s", bounded(last.name), d.src.place(before.at)), "keep one of the two"})
		return
	}
	last.value = d.value(n.Value(), d.valueStart(n))
	t.add(last)
}

// valueStart returns where the value of a `key = value` starts. The parser
// does not say so for lists.
func (d *document) valueStart(n *unstable.Node) int { return valueStart(d.src.data, n) }

func valueStart(data []byte, n *unstable.Node) int {
	at := 0
	for it := n.Key(); it.Next(); {
		at = int(it.Node().Raw.Offset + it.Node().Raw.Length)
	}
	for at < len(data) && strings.IndexByte(" \t=", data[at]) >= 0 {
		at++
	}
	return at
}

func (d *document) value(n *unstable.Node, at int) value {
	v := value{kind: n.Kind, at: at}
	switch n.Kind {
	case unstable.Array:
		for it := n.Children(); it.Next(); {
			child := it.Node()
			childAt := at
			if child.Raw.Length > 0 {
				childAt = int(child.Raw.Offset)
			}
			v.list = append(v.list, d.value(child, childAt))
		}
	case unstable.InlineTable:
		v.kind, v.table = unstable.Table, newTable(at)
		v.table.header = true
		for it := n.Children(); !d.full() && it.Next(); {
			d.set(v.table, it.Node())
		}
	default:
		v.text = string(n.Data)
	}
	return v
}

// syntaxHint helps with what people who have not met TOML trip over.
const syntaxHint = `a line is key = value or [table]; texts stand in "quotes", lists in [brackets]`

func (d *document) syntax(err error) {
	at := len(d.src.data)
	if p, ok := errors.AsType[*unstable.ParserError](err); ok && len(p.Highlight) > 0 {
		at = int(d.parser.Range(p.Highlight).Offset)
	}
	d.add(at, problem{"this is not TOML: " + err.Error(), syntaxHint})
}

// confirm asks the whole of the TOML decoder about a file that has no other
// errors. It knows rules that the tree does not, such as what may be added to
// an inline table, but takes its time over a table with very many keys.
func confirm(r *report) {
	if len(r.errs) > 0 {
		return
	}
	var all map[string]any
	err := toml.Unmarshal(r.src.data, &all)
	if err == nil {
		return
	}
	at := 0
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := e.Position()
		at = r.src.offset(line, column)
	}
	r.add(at, problem{"this is not TOML: " + strings.TrimPrefix(err.Error(), "toml: "), syntaxHint})
}

func joinKeys(keys []entry) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = bounded(k.name)
	}
	return bounded(strings.Join(names, "."))
}

// bounded cuts a text of the file short for use in an error.
func bounded(s string) string {
	const most = 60
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most]) + "…"
}
