package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/store"
)

// The journal of what to undo lies where a full disk cannot keep a daemon from
// starting.
func TestTheJournalIsInMemory(t *testing.T) {
	o := Options{Paths: layout.Paths{Root: t.TempDir()}, Log: slog.New(slog.DiscardHandler)}
	run := func() *store.Store {
		st, err := store.Open(o.Paths.Run(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	j, err := openJournal(o, run())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Record(store.Entry{Kind: interfaceKind, Name: "gatelodge"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(o.Paths.Run(), "journal.json")); err != nil {
		t.Error(err)
	}
	again, err := openJournal(o, run())
	if err != nil || len(again.Entries()) != 1 {
		t.Errorf("the next process finds %v, %v", again.Entries(), err)
	}
}
