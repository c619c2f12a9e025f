package store

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gatelodge/gatelodge/internal/key"
)

// faults are errors of a file system and what their owner is told.
var faults = []struct {
	err  error
	says string
}{
	{syscall.ENOSPC, "full"},
	{syscall.EROFS, "read-only"},
	{syscall.EIO, "dmesg"},
	{syscall.EACCES, "root"},
}

const lockEnv = "GATELODGE_TEST_LOCK"

// TestMain lets the test program be a second process: one that takes the lock
// and keeps it until its input ends, or one that saves.
func TestMain(m *testing.M) {
	if dir := os.Getenv(lockEnv); dir != "" {
		holdLock(dir)
		return
	}
	if dir := os.Getenv(saveEnv); dir != "" {
		if err := saveTwice(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func holdLock(dir string) {
	s, err := Open(dir, nil)
	if err == nil {
		_, err = s.Lock()
	}
	fmt.Println("lock:", err)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func openTemp(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "var", "gatelodge"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSaveAndLoad(t *testing.T) {
	s := openTemp(t)
	var got value
	if loaded, err := s.Load("gate", &got); err != nil || loaded.Found {
		t.Errorf("before the first save: %+v, %v", loaded, err)
	}
	want := value{"<b>&\u2028", 7}
	mustSave(t, s, want)
	if loaded, err := s.Load("gate", &got); err != nil || loaded != (Loaded{Found: true}) || got != want {
		t.Errorf("%+v, %+v, %v", loaded, got, err)
	}
	entries, err := os.ReadDir(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("the folder holds %v, want the file and its copy", entries)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(s.Dir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
}

func TestBadValues(t *testing.T) {
	s := openTemp(t)
	for _, name := range []string{"", "../gate", "a/b", ".hidden", "gate.json"} {
		if err := s.Save(name, value{}); err == nil {
			t.Errorf("saved as %q", name)
		}
		if _, err := s.Load(name, new(value)); err == nil {
			t.Errorf("loaded %q", name)
		}
	}
	if err := s.Save("gate", func() {}); err == nil {
		t.Error("saved a function")
	}
}

// A file far too large is damage, and is not read into memory to say so.
func TestHugeFile(t *testing.T) {
	s := openTemp(t)
	mustSave(t, s, value{"old", 1})
	if err := os.Truncate(filepath.Join(s.Dir(), "gate.json"), 100<<30); err != nil {
		t.Fatal(err)
	}
	var got value
	loaded, err := s.Load("gate", &got)
	if err != nil || got.Count != 1 || !strings.Contains(loaded.Warning, "far larger") {
		t.Errorf("%+v, %+v, %v", loaded, got, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "real")
	link := filepath.Join(dir, "link")
	open := filepath.Join(dir, "open")
	file := filepath.Join(dir, "file")
	for _, err := range []error{
		os.Mkdir(folder, 0o700), os.Symlink(folder, link), os.Mkdir(open, 0o700), os.Chmod(open, 0o750),
		os.WriteFile(file, nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := map[string]string{link: "symbolic link", open: "chmod 700", file: "not a directory"}
	for path, want := range refused {
		if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s) = %v, want %q in it", filepath.Base(path), err, want)
		}
	}
}

// What a newer program wrote is neither used nor overwritten.
func TestNewer(t *testing.T) {
	body := json.RawMessage(`{"Text":"x"}`)
	content, err := json.Marshal(envelope{formatVersion + 1, checksum(formatVersion+1, body), body})
	if err != nil {
		t.Fatal(err)
	}
	s := on(holding(map[string][]byte{"gate.json": content}))
	wantNewer := func(err error) {
		t.Helper()
		if _, ok := errors.AsType[*NewerError](err); !ok || !strings.Contains(err.Error(), "newer version") {
			t.Errorf("error %v, want a NewerError", err)
		}
	}
	_, err = s.Load("gate", new(value))
	wantNewer(err)
	wantNewer(s.Save("gate", value{}))
	d := newDisk()
	if err := on(d).Save("gate", map[string]any{"Text": "x", "Colour": "red"}); err != nil {
		t.Fatal(err)
	}
	_, err = on(d).Load("gate", new(value))
	wantNewer(err)
	delete(d.durable, "gate.json")
	_, err = on(d).Load("gate", new(value))
	wantNewer(err)
}

func TestConcurrentSaves(t *testing.T) {
	s := openTemp(t)
	mustSave(t, s, value{})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for k := range 10 {
				if err := s.Save("gate", value{Count: 100*i + k}); err != nil {
					t.Error(err)
				}
				if loaded, err := s.Load("gate", new(value)); err != nil || loaded.Warning != "" {
					t.Errorf("%+v, %v", loaded, err)
				}
			}
		})
	}
	group.Wait()
}

func TestLock(t *testing.T) {
	s := openTemp(t)
	litter := filepath.Join(s.Dir(), "gate.json"+temporaryMark+"X")
	if err := os.WriteFile(litter, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := s.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(litter); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the litter of a crash is still there: %v", err)
	}
	_, err = s.Lock()
	if held, ok := errors.AsType[*LockedError](err); !ok || held.PID != os.Getpid() {
		t.Errorf("second lock: %v, want one held by %d", err, os.Getpid())
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if lock, err = s.Lock(); err != nil {
		t.Fatalf("after Unlock: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
}

// The lock holds between processes, names its holder, and ends with it even
// if that is killed.
func TestLockBetweenProcesses(t *testing.T) {
	s := openTemp(t)
	holder := exec.CommandContext(t.Context(), os.Args[0])
	holder.Env = append(os.Environ(), lockEnv+"="+s.Dir())
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "lock: <nil>\n" {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	_, err = s.Lock()
	if held, ok := errors.AsType[*LockedError](err); !ok || held.PID != holder.Process.Pid {
		t.Errorf("error %v, want the lock held by %d", err, holder.Process.Pid)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	lock, err := s.Lock()
	if err != nil {
		t.Fatalf("after the holder's death: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestPrivateKey(t *testing.T) {
	p, err := key.NewPrivate()
	if err != nil {
		t.Fatal(err)
	}
	type file struct{ Key, None PrivateKey }
	s := openTemp(t)
	if err := s.Save("gate", file{Key: PrivateKey{p}}); err != nil {
		t.Fatal(err)
	}
	var got file
	if _, err := s.Load("gate", &got); err != nil || got.Key.Private != p || !got.None.IsZero() {
		t.Errorf("the key did not come back: %v", err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %x", got, got, got, got.Key, got.Key), got.Key.String(), got.Key.LogValue().String()} {
		if strings.Contains(text, p.RevealText()) || strings.Contains(text, fmt.Sprintf("%x", p.Reveal())) {
			t.Errorf("the key shows in %q", text)
		}
	}
	if err := new(PrivateKey).UnmarshalText([]byte("short")); err == nil {
		t.Error("a damaged key was read")
	}
}

func FuzzOpen(f *testing.F) {
	good, err := seal(value{"text", 1})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{good, {}, []byte("{}"), []byte(`{"gatelodge":1,"sha256":"","body":null}`), good[:len(good)/2], []byte(strings.Repeat("[", 20000))} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		body, err := open(content)
		if err == nil && !json.Valid(body) {
			t.Errorf("accepted %q", content)
		}
	})
}

// Who owns the folder could have root wait for ever at a pipe.
func TestLoadDoesNotWaitAtAPipe(t *testing.T) {
	s := openTemp(t)
	if err := syscall.Mkfifo(filepath.Join(s.Dir(), "thing.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	var v struct{}
	if _, err := s.Load("thing", &v); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Load of a pipe: %v", err)
	}
}
