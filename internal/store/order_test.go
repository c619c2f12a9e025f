package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// saveEnv lets the test program be a process that saves an old value and then
// a new one in a folder, with the removal of a file that does not exist in
// between, for those who trace it.
const (
	saveEnv = "GATELODGE_TEST_SAVE"
	between = "between"
)

var oldValue, newValue = value{"old", 1}, value{strings.Repeat("new", 3000), 2}

func saveTwice(dir string) error {
	runtime.LockOSThread() // so that one thread makes all calls, in their order
	s, err := Open(dir, nil)
	if err != nil {
		return err
	}
	if err := s.Save("gate", oldValue); err != nil {
		return err
	}
	if err := s.root.Remove(between); !errors.Is(err, fs.ErrNotExist) {
		return errors.New("somebody else is in the folder")
	}
	return s.Save("gate", newValue)
}

// call is a system call of a Save: "create", "write", "rename" or "remove",
// "sync" of a file, or "sync names" of the folder.
type call struct {
	what     string
	file     int // numbered in the order of their creation
	name, to string
	data     []byte
}

// record traces what a real Save asks of the kernel.
func record(t *testing.T) []call {
	t.Helper()
	dir, traces := t.TempDir(), t.TempDir()
	cmd := exec.Command("strace", "-ff", "-qq", "-xx", "-s", "1000000", "-o", filepath.Join(traces, "thread"),
		"-e", "trace=openat,write,fsync,renameat,renameat2,unlinkat,close,ftruncate,pwrite64,linkat", "-e", "signal=none", os.Args[0])
	cmd.Env = append(os.Environ(), saveEnv+"="+filepath.Join(dir, "state"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(traces, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, after, found := strings.Cut(string(text), quoted(between)); found {
			return parse(t, after)
		}
	}
	t.Fatalf("no thread of %d has saved anything", len(files))
	return nil
}

// quoted is how strace(1) writes a string with -xx.
func quoted(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteString(`\x` + hex.EncodeToString([]byte{c}))
	}
	return b.String()
}

var (
	linePattern   = regexp.MustCompile(`^(\w+)\((.*)\)\s+= (\d+)`)
	stringPattern = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
)

// parse reads the calls that have succeeded.
func parse(t *testing.T, text string) []call {
	t.Helper()
	names, numbers := map[string]string{}, map[string]int{} // of open files, by descriptor
	var calls []call
	for line := range strings.Lines(text) {
		m := linePattern.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		var texts []string
		for _, s := range stringPattern.FindAllStringSubmatch(m[2], -1) {
			raw, err := hex.DecodeString(strings.ReplaceAll(s[1], `\x`, ""))
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(raw))
		}
		fd, _, _ := strings.Cut(m[2], ",")
		switch m[1] {
		case "openat":
			names[m[3]] = texts[0]
			if strings.Contains(m[2], "O_CREAT") {
				numbers[m[3]] = len(numbers)
				calls = append(calls, call{what: "create", file: numbers[m[3]], name: texts[0]})
			}
		case "write":
			calls = append(calls, call{what: "write", file: numbers[fd], data: []byte(texts[0])})
		case "fsync":
			if names[fd] == "." {
				calls = append(calls, call{what: "sync names"})
			} else {
				calls = append(calls, call{what: "sync", file: numbers[fd]})
			}
		case "renameat", "renameat2":
			calls = append(calls, call{what: "rename", name: texts[0], to: texts[1]})
		case "unlinkat":
			calls = append(calls, call{what: "remove", name: texts[0]})
		case "close":
		default:
			t.Fatalf("Save has come to use %s, which this test does not know", m[1])
		}
	}
	return calls
}

// lazy is a disk that keeps what it must and no more: the content of a file
// that was synced, and names after the folder was.
type lazy struct {
	content map[int][]byte // as written so far
	synced  map[int]bool
	durable map[string]int // files by the names that are on the disk
	pending []call         // changes to names that are not
	names   map[string]int // as a process sees them
}

func (l *lazy) do(c call) {
	switch c.what {
	case "create":
		l.content[c.file], l.synced[c.file] = nil, false
		l.names[c.name] = c.file
		l.pending = append(l.pending, c)
	case "write":
		l.content[c.file], l.synced[c.file] = append(l.content[c.file], c.data...), false
	case "sync":
		l.synced[c.file] = true
	case "rename":
		c.file = l.names[c.name]
		l.names[c.to] = c.file
		delete(l.names, c.name)
		l.pending = append(l.pending, c)
	case "remove":
		delete(l.names, c.name)
		l.pending = append(l.pending, c)
	case "sync names":
		l.durable, l.pending = maps.Clone(l.names), nil
	}
}

// left is what a power cut can leave: with those pending names whose bit is
// set, and as much of content that was not synced, in eighths.
func (l *lazy) left(kept, eighths int) map[string][]byte {
	names := maps.Clone(l.durable)
	for i, c := range l.pending {
		if kept&(1<<i) == 0 {
			continue
		}
		if c.what != "create" {
			delete(names, c.name)
		}
		switch c.what {
		case "create":
			names[c.name] = c.file
		case "rename":
			names[c.to] = c.file
		}
	}
	files := map[string][]byte{}
	for name, file := range names {
		content := l.content[file]
		if !l.synced[file] {
			content = content[:len(content)*eighths/8]
		}
		files[name] = slices.Clone(content)
	}
	return files
}

// The calls of a real Save, cut off after each of them, with every order of
// what was not forced to the disk, and as much of the content: what is loaded is
// the old value or the new one, and the next save goes well.
func TestEveryOrderOfTheCallsOfASave(t *testing.T) {
	calls := record(t)
	var kinds []string
	for _, c := range calls {
		kinds = append(kinds, c.what)
	}
	want := []string{"create", "write", "sync", "create", "write", "sync", "rename", "rename", "sync names"}
	if !slices.Equal(kinds, want) {
		t.Errorf("Save makes the calls %v", kinds)
	}
	old, err := seal(oldValue)
	if err != nil {
		t.Fatal(err)
	}
	states := 0
	for prefix := range len(calls) + 1 {
		l := &lazy{content: map[int][]byte{-1: old, -2: old}, synced: map[int]bool{-1: true, -2: true}}
		l.names = map[string]int{"gate.json": -1, "gate.json.last": -2}
		l.durable = maps.Clone(l.names)
		for _, c := range calls[:prefix] {
			l.do(c)
		}
		for kept := range 1 << len(l.pending) {
			for eighths := range 9 {
				states++
				survives(t, l.left(kept, eighths), false, prefix == len(calls), oldValue, newValue)
			}
		}
	}
	if states < 200 {
		t.Errorf("only %d states were looked at", states)
	}
	t.Logf("%d calls, %d states of the disk", len(calls), states)
}

// Without the sync of a file, or with the names before it, the test above
// would fail: it can tell.
func TestTheOrderMatters(t *testing.T) {
	calls := record(t)
	unsynced := slices.DeleteFunc(slices.Clone(calls), func(c call) bool { return c.what == "sync" })
	l := &lazy{content: map[int][]byte{}, synced: map[int]bool{}, names: map[string]int{}, durable: map[string]int{}}
	for _, c := range unsynced {
		l.do(c)
	}
	files := l.left(0, 0)
	if !bytes.Equal(files["gate.json"], nil) || !bytes.Equal(files["gate.json.last"], nil) {
		t.Fatal("content that was never synced is on the disk")
	}
	if _, err := on(holding(files)).Load("gate", new(value)); err == nil {
		t.Error("two empty files were taken for a value")
	}
}
