package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// daemonOwner returns the user whose daemon it is: another than this one where
// files can be given away, which takes root.
func daemonOwner(t *testing.T) (owner Owner, another bool) {
	t.Helper()
	other := Owner{UID: 12345, GID: 12346}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, other.UID, other.GID); err != nil {
		return Owner{UID: os.Geteuid(), GID: os.Getegid()}, false
	}
	return other, true
}

// reachable returns a new folder that every user can reach.
func reachable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What root does in the daemon's folder is the daemon's.
func TestRootWritesForTheFoldersOwner(t *testing.T) {
	daemonUser, another := daemonOwner(t)
	dir := filepath.Join(reachable(t), "gatelodge")
	s, err := Open(dir, &daemonUser)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := s.Lock()
	if err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, value{"first", 1})
	mustSave(t, s, value{"second", 2})
	if err := errors.Join(lock.Unlock(), s.Close()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("the folder holds %v, %v; want the value, its copy and the lock", entries, err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "gate.json"), filepath.Join(dir, "gate.json.last"), filepath.Join(dir, lockFile)} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != daemonUser.UID || int(st.Gid) != daemonUser.GID || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s belongs to %d:%d with mode %v", path, st.Uid, st.Gid, info.Mode())
		}
	}
	if !another {
		return
	}
	if said := openAs(t, daemonUser, dir); said != "lock: <nil>\n" {
		t.Errorf("the daemon cannot use what root made: %s", said)
	}
	if said := openAs(t, Owner{UID: 12347, GID: 12347}, dir); !strings.Contains(said, "permission denied") && !strings.Contains(said, "chown") {
		t.Errorf("another user gets: %s", said)
	}
}

// openAs opens and locks a store as another user, in a process of its own, and
// returns how that went.
func openAs(t *testing.T, who Owner, dir string) string {
	t.Helper()
	self := filepath.Join(reachable(t), "store.test")
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, program, 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(os.Environ(), lockEnv+"="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(who.UID), Gid: uint32(who.GID)}}
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// The daemon's user may be somebody who has broken in: root writes through no
// link of theirs.
func TestALockThatIsALinkIsRefused(t *testing.T) {
	s := openTemp(t)
	victim := filepath.Join(s.Dir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, link := range map[string]func(old, new string) error{"symbolic": os.Symlink, "hard": os.Link} {
		path := filepath.Join(s.Dir(), lockFile)
		if err := link(victim, path); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Lock(); err == nil || !strings.Contains(err.Error(), "plain file") && !strings.Contains(err.Error(), "escapes") {
			t.Errorf("a %s link: %v", name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
		t.Errorf("written through a link: %q, %v", got, err)
	}
}
