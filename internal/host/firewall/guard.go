package firewall

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// Guard keeps the tunnel shut while the main table is away: somebody who loads
// a ruleset again (nft flush ruleset) removes that too, and it takes us a moment
// to bring it back. The guard is a second, small table that the kernel gives to
// one netlink socket: nobody else can change it, and it goes with the socket.
// It drops what comes from the tunnel, or is forwarded into it, without the mark
// of the main table's accepting rules, and knows nothing of anything else.
//
// Kernels before 5.12 have no such tables. There is no guard there.
type Guard struct {
	keep func(*os.File) error
	log  *slog.Logger

	mu     sync.Mutex
	kept   *os.File     // see GuardOptions; nil once it was looked at
	socket *ownerSocket // nil until Raise
	why    error        // why there is no guard of ours, once that was said
}

// GuardOptions say how a guard outlives this process.
type GuardOptions struct {
	// Kept is the socket of a process before us, as the service manager has
	// kept it; nil if there is none. It is the guard's to use and to close.
	Kept *os.File
	// Keep, unless nil, is called with a new socket, for the service manager to
	// keep a duplicate of. It must not close the file, nor call its Fd method.
	Keep func(*os.File) error
	Log  *slog.Logger
}

// OpenGuard returns a guard that is not raised yet.
func OpenGuard(o GuardOptions) *Guard {
	return &Guard{keep: o.Keep, log: o.Log, kept: o.Kept}
}

// GuardTable is the name of the table that guards the named main table. The dot
// is in no main table's name.
func GuardTable(table string) string { return table + ".guard" }

// errNoOwners reports a kernel without tables that belong to a socket.
var errNoOwners = errors.New("this kernel has no nftables tables that belong to a process (Linux 5.12 or later has)")

// ErrOwned reports a guard that belongs to another process.
var ErrOwned = errors.New("another process keeps it: end that, an older gatelodge run")

// Raise makes the guard of the wanted main table, which must stand: the rules
// there say what may pass. Where there can be none it says so once, in the log.
func (g *Guard) Raise(want plan.Firewall) error {
	rules, err := newGuardRules(want)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.socket == nil {
		if err := g.open(); err != nil {
			return fmt.Errorf("cannot open netlink to nf_tables: %w", err)
		}
	}
	err = g.socket.raise(rules)
	if !errors.Is(err, errNoOwners) && !errors.Is(err, ErrOwned) {
		g.why = nil
		return err
	}
	if g.why == nil {
		g.log.Warn("nothing keeps the tunnel shut while others reload the ruleset", "table", GuardTable(rules.table), "why", err)
	}
	g.why = err
	return nil
}

// open takes over the socket that was kept, or else opens one.
func (g *Guard) open() error {
	if kept := g.kept; kept != nil {
		g.kept = nil
		socket, err := adoptOwnerSocket(kept)
		if err == nil {
			g.socket = socket
			return nil
		}
		g.log.Warn("the socket that the service manager has kept for the guard is of no use", "error", err)
	}
	socket, err := openOwnerSocket()
	if err != nil {
		return err
	}
	g.socket = socket
	if g.keep == nil {
		return nil
	}
	if err := g.keep(socket.file); err != nil {
		// The guard stands without; only a restart is a moment without it.
		g.log.Warn("the service manager does not keep the guard over a restart", "error", err)
	}
	return nil
}

// Drift returns what is wrong with the guard of the wanted main table, in words.
func (g *Guard) Drift(want plan.Firewall) ([]string, error) {
	rules, err := newGuardRules(want)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if errors.Is(g.why, errNoOwners) {
		return nil, nil
	}
	found, err := g.look(GuardTable(rules.table))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot look at the guard: %w", err)
	case !found.present:
		return []string{"it is missing"}, nil
	case g.socket != nil && found.owner == g.socket.port && found.comment == rules.comment():
		return nil, nil
	case g.why != nil && found.owner != 0:
		return nil, nil // nothing to be done about it
	default:
		return []string{"it is not ours, or of other rules"}, nil
	}
}

func (g *Guard) look(table string) (guardFound, error) {
	if g.socket != nil {
		return g.socket.look(table)
	}
	socket, err := openOwnerSocket()
	if err != nil {
		return guardFound{}, err
	}
	found, err := socket.look(table)
	return found, errors.Join(err, socket.close())
}

// Lower removes the guard of the named main table, no matter who made it; one that
// does not stand is no error.
func (g *Guard) Lower(table string) error {
	if err := checkTableName(table); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	socket := g.socket
	if socket == nil {
		var err error
		if socket, err = openOwnerSocket(); err != nil {
			return err
		}
		defer func() { _ = socket.close() }() // it owns nothing
	}
	return socket.lower(GuardTable(table))
}

// Close lets go of the guard. It stands on if the service manager keeps it.
func (g *Guard) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	if g.kept != nil {
		errs = append(errs, g.kept.Close())
	}
	if g.socket != nil {
		errs = append(errs, g.socket.close())
	}
	g.kept, g.socket = nil, nil
	return errors.Join(errs...)
}
