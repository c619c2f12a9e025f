package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Entry is something of the machine that we changed, and what it was before.
type Entry struct {
	Kind     string `json:"kind"` // such as "sysctl"
	Name     string `json:"name"`
	Previous string `json:"previous"`
}

// Journal remembers, over crashes, what has to be restored on the machine.
type Journal struct {
	store *Store
	mu    sync.Mutex
	value journal
}

// journal is what is stored.
type journal struct {
	BootID  string  `json:"boot_id"`
	Entries []Entry `json:"entries"`
}

const journalName = "journal"

// Journal opens the undo journal. The boot ID is the kernel's
// (/proc/sys/kernel/random/boot_id): what an earlier boot changed is gone
// with it, and putting it back would undo what others have set since. The
// warning is that of Load.
func (s *Store) Journal(bootID string) (j *Journal, warning string, err error) {
	if bootID == "" {
		return nil, "", errors.New("cannot open the undo journal: the boot's ID is not known")
	}
	j = &Journal{store: s}
	loaded, err := s.Load(journalName, &j.value)
	if err != nil {
		return nil, "", fmt.Errorf("cannot open the undo journal: %w", err)
	}
	if j.value.BootID != bootID {
		j.value = journal{BootID: bootID}
	}
	return j, loaded.Warning, nil
}

// Record writes down previous values, and must return before they are
// changed. What is recorded already stays as it is: after a crash the value
// found is our own, and the true previous one is in the journal.
func (j *Journal) Record(entries ...Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := slices.Clone(j.value.Entries)
	for _, e := range entries {
		known := func(o Entry) bool { return o.Kind == e.Kind && o.Name == e.Name }
		if !slices.ContainsFunc(all, known) {
			all = append(all, e)
		}
	}
	if len(all) == len(j.value.Entries) {
		return nil
	}
	return j.save(all)
}

// Entries returns what has to be restored, the last change first.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := slices.Clone(j.value.Entries)
	slices.Reverse(all)
	return all
}

// Clear forgets everything, once it has been restored.
func (j *Journal) Clear() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.value.Entries) == 0 {
		return nil
	}
	return j.save(nil)
}

func (j *Journal) save(entries []Entry) error {
	next := journal{BootID: j.value.BootID, Entries: entries}
	if err := j.store.Save(journalName, next); err != nil {
		return fmt.Errorf("cannot write the undo journal: %w", err)
	}
	j.value = next
	return nil
}
