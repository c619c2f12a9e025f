package firewall

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// table is what the kernel has of a table: names only.
type table struct {
	present  bool
	mark     string // the name of the chain that says what was loaded
	chains   []string
	sets     []loadedSet
	counters []string
}

// loadedSet is a named set or map. The netlink library takes a map to counters
// for a set.
type loadedSet struct {
	name  string
	isMap bool
}

// hasSet reports whether the table has a set of that name.
func (t table) hasSet(name string) bool {
	return slices.ContainsFunc(t.sets, func(s loadedSet) bool { return s.name == name })
}

// refillable reports whether the table was made by a version of this program
// that gives tables the same shape.
func (t table) refillable(d *document) bool {
	return t.present && strings.HasPrefix(t.mark, markPrefix+d.schema+"_")
}

// of names our table to the netlink library.
func of(name string) *nftables.Table {
	return &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
}

// readTable reads which parts a table has, and refuses one that is not ours.
func readTable(name string) (table, error) {
	conn, err := netfilter.Open()
	if err != nil {
		return table{}, err
	}
	defer conn.CloseLasting()
	var t table
	_, _, err = netfilter.Steadily(func() error {
		t, err = readNames(conn, name)
		return err
	})
	if err != nil {
		return table{}, fmt.Errorf("cannot read the table %s: %w", name, err)
	}
	if t.present && t.mark == "" && len(t.chains) > 0 {
		return table{}, fmt.Errorf("cannot use the table %s: %w; if it is of no use, delete it: nft delete table inet %s", name, ErrForeign, name)
	}
	return t, nil
}

func readNames(conn *nftables.Conn, name string) (table, error) {
	var t table
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return t, err
	}
	t.present = slices.ContainsFunc(tables, func(o *nftables.Table) bool { return o.Name == name })
	if !t.present {
		return t, nil
	}
	return t, errors.Join(t.readChains(conn, name), t.readSets(conn, name), t.readCounters(conn, name))
}

func (t *table) readChains(conn *nftables.Conn, name string) error {
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	for _, c := range chains {
		if c.Table.Name != name {
			continue
		}
		t.chains = append(t.chains, c.Name)
		if strings.HasPrefix(c.Name, markPrefix) {
			t.mark = c.Name
		}
	}
	return err
}

func (t *table) readSets(conn *nftables.Conn, name string) error {
	sets, err := conn.GetSets(of(name))
	for _, s := range sets {
		if !s.Anonymous {
			t.sets = append(t.sets, loadedSet{s.Name, s.IsMap})
		}
	}
	return err
}

func (t *table) readCounters(conn *nftables.Conn, name string) error {
	objects, err := conn.GetObjects(of(name))
	for _, o := range objects {
		if c, ok := o.(*nftables.CounterObj); ok {
			t.counters = append(t.counters, c.Name)
		}
	}
	return err
}
