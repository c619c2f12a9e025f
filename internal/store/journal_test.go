package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func openJournal(t *testing.T, s *Store, boot string) *Journal {
	t.Helper()
	j, warning, err := s.Journal(boot)
	if err != nil || warning != "" {
		t.Fatalf("%q, %v", warning, err)
	}
	return j
}

func wantEntries(t *testing.T, j *Journal, want ...Entry) {
	t.Helper()
	if got := j.Entries(); !slices.Equal(got, want) {
		t.Errorf("entries %+v, want %+v", got, want)
	}
}

func TestJournal(t *testing.T) {
	forwarding := Entry{"sysctl", "net.ipv4.ip_forward", "0"}
	ra := Entry{"sysctl", "net.ipv6.conf.eth0.accept_ra", "1"}
	s := openTemp(t)
	j := openJournal(t, s, "boot-1")
	wantEntries(t, j)
	if err := j.Record(forwarding); err != nil {
		t.Fatal(err)
	}
	// After a crash our own value is found; the true one must survive that.
	j = openJournal(t, s, "boot-1")
	ours := forwarding
	ours.Previous = "1"
	if err := j.Record(ours, ra, ra); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, openJournal(t, s, "boot-1"), ra, forwarding)
	// A new boot starts with values of its own.
	j = openJournal(t, s, "boot-2")
	wantEntries(t, j)
	if err := j.Record(ours); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, s, "boot-2")
	wantEntries(t, j, ours)
	if err := j.Clear(); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, j)
	wantEntries(t, openJournal(t, s, "boot-2"))
}

// What could not be written down does not count as recorded.
func TestJournalNotWritten(t *testing.T) {
	d := newDisk()
	j := openJournal(t, on(d), "boot")
	d.fault = func(int, string) (int, error) { return 0, errPower }
	e := Entry{"sysctl", "net.ipv4.ip_forward", "0"}
	if err := j.Record(e); err == nil || !strings.Contains(err.Error(), "undo journal") {
		t.Errorf("error %v", err)
	}
	wantEntries(t, j)
	d.fault = nil
	if err := j.Record(e); err != nil {
		t.Fatal(err)
	}
	d.steps = 0
	if err := j.Record(e); err != nil || d.steps != 0 {
		t.Errorf("recording it again wrote to the disk: %d steps, %v", d.steps, err)
	}
	d.fault = func(int, string) (int, error) { return 0, errPower }
	if err := j.Clear(); err == nil {
		t.Error("cleared a journal that cannot be written")
	}
	wantEntries(t, j, e)
}

func TestJournalRefused(t *testing.T) {
	if _, _, err := on(newDisk()).Journal(""); err == nil {
		t.Error("opened for no boot")
	}
	d := holding(map[string][]byte{"journal.json": nil})
	if _, _, err := on(d).Journal("boot"); err == nil {
		t.Error("opened a damaged journal")
	}
	j := openJournal(t, on(newDisk()), "boot")
	s := j.store
	if err := j.Record(Entry{"sysctl", "a", "0"}); err != nil {
		t.Fatal(err)
	}
	s.files.(*disk).durable["journal.json"] = nil
	again, warning, err := s.Journal("boot")
	if err != nil || !strings.Contains(warning, "damaged") || len(again.Entries()) != 1 {
		t.Errorf("from the copy: %q, %v", warning, err)
	}
}

// What a version before has changed is restored by this one.
func TestTheJournalOfBefore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	text, err := os.ReadFile("testdata/journal-before.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "journal.json"), text, 0o600)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // it is only read
	j := openJournal(t, s, "8f2d5f0e-6a9e-4a5e-9d55-0f1f6f2f6f3a")
	wantEntries(t, j, Entry{"sysctl", "net.ipv6.conf.eth0.accept_ra", "1"}, Entry{"sysctl", "net.ipv4.ip_forward", "0"})
}
