package foreign

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// iptables-legacy(8) keeps its rules in tables of its own, which nft(8) does not
// show, though its rules see the same packets. The kernel shows them to
// those who may change the network.

// legacyPriorities are those of its tables that decide about packets of ours
// (linux/netfilter_ipv4.h); that of nat is at postrouting.
var legacyPriorities = map[string]int32{"raw": -300, "mangle": -150, "filter": 0, "security": 50, "nat": 100}

// LegacyTables names the tables of iptables-legacy that stand here, such as "ip
// filter". To ask the kernel for a table would make it, so it is asked for those
// alone that are listed, or whose module is loaded.
func LegacyTables() ([]string, error) {
	var names []string
	var errs []error
	for _, f := range netfilter.LegacyFamilies() {
		tables, err := f.Tables()
		errs = append(errs, err)
		for _, t := range tables {
			names = append(names, f.Name+" "+t)
		}
	}
	return names, errors.Join(errs...)
}

// hookOrder is the kernel's numbering of hooks.
var hookOrder = []Hook{Arrival, Input, Forward, Output, Leaving}

// readLegacy reads all tables that matter and are not hidden.
func readLegacy() ([]legacyChains, error) {
	var all []legacyChains
	for _, f := range netfilter.LegacyFamilies() {
		names, err := f.Tables()
		if err != nil && !errors.Is(err, netfilter.ErrHidden) {
			return all, err
		}
		for _, name := range names {
			if _, matters := legacyPriorities[name]; !matters {
				continue
			}
			t, err := f.Read(name)
			if errors.Is(err, unix.ENOENT) {
				continue // of its module another network namespace has one
			}
			if err != nil {
				return all, fmt.Errorf("cannot read table %s of iptables-legacy (%s): %w", name, f.Name, err)
			}
			chains, err := parseLegacy(t, layouts[f.Name])
			if err != nil {
				return all, fmt.Errorf("cannot read table %s of iptables-legacy (%s): %w", name, f.Name, err)
			}
			all = append(all, chains)
		}
	}
	slices.SortStableFunc(all, func(a, b legacyChains) int { return int(a.priority - b.priority) })
	return all, nil
}

// text is a name that is filled up with zeros.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
