// Package firewall keeps Gatelodge's one nftables table: it renders it from
// what is planned, loads it in one transaction, says how the kernel's table
// differs, reads its counters and removes it. It also cuts connections that a
// change of forwards has left behind in conntrack.
//
// Rules are written as text for nft(8), because that is the form in which they
// can be read, reviewed and compared; what the kernel holds is read back over
// netlink, because nft(8) would first read every element of every table of the
// machine. No other table is ever named or touched.
package firewall

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// ErrForeign reports a table that has our table's name and was not made by us.
var ErrForeign = errors.New("the table was not made by Gatelodge")

// Firewall loads and reads tables of the network namespace it is used in.
type Firewall struct {
	nft     string // path of nft(8)
	version version

	loading sync.Mutex               // held while the table is read and loaded
	tracing atomic.Pointer[chain]    // the chain that traces now; nil: none
	built   atomic.Pointer[document] // of a gate, the last one
	known   atomic.Pointer[known]    // the table as it stood last; nil: unknown
}

// Open finds nft(8) on PATH or in the directories of system programs, and
// checks that it is new enough. The error is ErrMissing or a *VersionError
// where that is not so.
func Open() (*Firewall, error) {
	path, err := find()
	if err != nil {
		return nil, err
	}
	v, err := checkVersion(path)
	if err != nil {
		return nil, err
	}
	return &Firewall{nft: path, version: v}, nil
}

// Apply makes the kernel's table the wanted one, in one transaction: no packet
// ever meets half of a ruleset. Where it is known what stands, the difference
// alone is made, so that one forward costs what it is, among however many. Any
// other table of ours is refilled in place, so that counters and per-visitor
// limits live on; one that an older version shaped differently, or somebody
// else changed beyond repair, is replaced.
//
// The error wraps ErrForeign if a table of that name is not ours, and is or
// wraps a *ScriptError if nft(8) refuses the document.
func (f *Firewall) Apply(ctx context.Context, want plan.Firewall) error {
	d, err := f.build(want)
	if err != nil {
		return err
	}
	f.loading.Lock()
	defer f.loading.Unlock()
	if f.update(ctx, d) {
		return nil
	}
	loaded, err := readTable(d.table)
	if err != nil {
		return err
	}
	d = d.tracedBy(f.tracing.Load())
	if loaded.refillable(d) {
		if err := f.load(ctx, d.refill(loaded)); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return f.load(ctx, d.replace())
}

// Check asks nft(8) and the kernel whether Apply would succeed, and changes
// nothing. Its errors are those of Apply.
func (f *Firewall) Check(ctx context.Context, want plan.Firewall) error {
	d, err := f.build(want)
	if err != nil {
		return err
	}
	if change, ok := f.difference(d); ok {
		return f.load(ctx, change.text(), "--check")
	}
	loaded, err := readTable(d.table)
	if err != nil {
		return err
	}
	text := d.replace()
	if loaded.refillable(d) {
		text = d.refill(loaded)
	}
	return f.load(ctx, text, "--check")
}

// Remove deletes our table of that name, if there is one. Connections that
// pass keep their address translation until they end. The error wraps
// ErrForeign if the table is not ours.
func (f *Firewall) Remove(ctx context.Context, table string) error {
	if err := checkTableName(table); err != nil {
		return err
	}
	loaded, err := readTable(table)
	if err != nil || !loaded.present {
		return err
	}
	return f.load(ctx, deletion(table))
}

// deletion deletes the table whether it exists or not: nft knows no "destroy"
// before 1.0.7.
func deletion(table string) string {
	return fmt.Sprintf("table inet %s\ndelete table inet %s\n", table, table)
}

// checkTableName admits what nft(8) reads as one name and nothing else.
func checkTableName(name string) error {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if letter || i > 0 && (r >= '0' && r <= '9' || r == '_' || r == '-') {
			continue
		}
		return fmt.Errorf("table name %q: character %q is not allowed; use letters, and after the first also digits, _ and -", name, r)
	}
	if name == "" || len(name) > 64 {
		return fmt.Errorf("a table name has 1 to 64 characters, not %d", len(name))
	}
	return nil
}

// checkInterfaceName admits what the kernel takes as the name of an interface,
// less what nft(8) would read as something else: a "*" at the end matches any
// ending, and a quote ends the string.
func checkInterfaceName(name string) error {
	const maxInterfaceName = 15 // IFNAMSIZ less the final zero
	if name == "" || len(name) > maxInterfaceName || name == "." || name == ".." {
		return fmt.Errorf("%q is not the name of an interface", name)
	}
	for _, r := range name {
		if r <= ' ' || r > '~' || strings.ContainsRune(`/:*"'\$`, r) {
			return fmt.Errorf("interface name %q: character %q is not allowed", name, r)
		}
	}
	return nil
}
