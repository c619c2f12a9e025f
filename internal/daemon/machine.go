package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/consent"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// openHost opens this machine for the instance with the given interface.
func openHost(ctx context.Context, o Options, name string, device config.Device) (*host.Host, error) {
	st, err := store.Open(o.Paths.Run(), o.Owner)
	if err != nil {
		return nil, err
	}
	journal, err := openJournal(o, st)
	if err != nil {
		return nil, err
	}
	if err := refuseFormer(ctx, journal, name); err != nil {
		return nil, err
	}
	// Noted before it stands, so that Down finds it whatever happens.
	if err := journal.Record(store.Entry{Kind: interfaceKind, Name: name}); err != nil {
		return nil, err
	}
	return host.Open(ctx, host.Options{
		Interface: name, Device: string(device), Journal: journal,
		TUN: o.TUN, KeepTUN: o.KeepTUN, Guard: o.Guard, KeepGuard: o.KeepGuard, Log: o.Log,
	})
}

// interfaceKind is the journal's word for an interface, and a table, of ours.
const interfaceKind = "interface"

// openJournal opens the undo journal of this boot: what was noted before a
// reboot has been undone by it. It lies in memory, as what it describes does,
// so that a disk which is full or read-only keeps no daemon from starting.
func openJournal(o Options, st *store.Store) (*store.Journal, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("cannot tell this boot from the last: %w", err)
	}
	journal, warning, err := st.Journal(strings.TrimSpace(string(boot)))
	if warning != "" {
		o.Log.Error("undo journal", "warning", warning)
	}
	return journal, err
}

// refuseFormer stops before a second interface is set up beside one that has
// another name in the configuration now: it would be taken for a foreign network.
func refuseFormer(ctx context.Context, journal *store.Journal, name string) error {
	for _, e := range journal.Entries() {
		if e.Kind != interfaceKind || e.Name == name {
			continue
		}
		stands, err := host.Stands(ctx, e.Name)
		if err != nil {
			return err
		}
		if stands {
			return &local.RefusedError{
				Message: fmt.Sprintf("the configuration now names the interface %s, but %s, its name before, still exists", name, e.Name),
				Hint:    "gatelodge down, which removes it, and then gatelodge up",
			}
		}
	}
	return nil
}

// Down removes what an instance has set up on this machine, undoes what other
// firewalls let through for it, and restores what it had changed, even after a
// daemon that died. It returns, in words, what it did.
func Down(ctx context.Context, o Options) ([]string, error) {
	if _, err := o.Paths.Role(); err != nil {
		return nil, err
	}
	st, err := store.Open(o.Paths.State(), o.Owner)
	if err != nil {
		return nil, err
	}
	lock, err := st.LockWithin(ctx, lockPatience)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	run, err := store.Open(o.Paths.Run(), o.Owner)
	if err != nil {
		return nil, err
	}
	journal, err := openJournal(o, run)
	if err != nil {
		return nil, err
	}
	var interfaces []string
	var notes []store.Entry
	for _, e := range journal.Entries() {
		if e.Kind == interfaceKind {
			interfaces = append(interfaces, e.Name)
			continue
		}
		notes = append(notes, e)
	}
	done, undoErr := consent.Withdraw(ctx, o.Paths)
	removed, err := host.Remove(ctx, interfaces, notes)
	done = append(done, removed...)
	if err != nil {
		return done, errors.Join(undoErr, err)
	}
	step.At("down: before the journal is cleared")
	return done, errors.Join(undoErr, journal.Clear())
}
