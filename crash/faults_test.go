package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/store"
)

// calls are the system calls by which anything is changed, and without which
// nothing can be.
var calls = []string{
	"openat", "write", "fsync", "renameat", "renameat2", "sendto", "sendmsg", "socket",
	"mkdirat", "unlinkat", "ftruncate", "ioctl",
}

var errnos = []string{"ENOSPC", "EIO", "EPERM", "EINTR", "ENOMEM", "ENOBUFS"}

// fault is one system call of a process that fails. The number counts, in each
// thread and each program it starts, the calls of that name.
type fault struct {
	call, errno string
	number      int
}

func (f fault) String() string {
	return fmt.Sprintf("%s number %d fails with %s", f.call, f.number, f.errno)
}

// faulty is an operation with faults.
type faulty struct {
	name string
	// prepare brings the gate, which is clean, to where the operation begins.
	prepare func(t *testing.T, w *world, folder string)
	program func(w *world, folder string) (env, args []string)
	// check looks at what is left; failed is what the program said.
	check func(t *testing.T, w *world, folder string, failed *lab.ExitError)
}

func faulties() []faulty {
	return []faulty{
		{"apply, the first", func(*testing.T, *world, string) {}, short("apply"), repaired("apply")},
		{"apply, a change", func(t *testing.T, w *world, folder string) { w.short(t, "apply", folder) }, short("change"), repaired("change")},
		{"down", func(t *testing.T, w *world, folder string) { w.short(t, "apply", folder) }, short("down"), repaired("down")},
		{"save", func(t *testing.T, w *world, folder string) { w.short(t, "save", folder) }, short("save"), saved},
		{"join", func(t *testing.T, w *world, _ string) { invited(t, w) }, func(w *world, _ string) (env, args []string) {
			return nil, []string{w.program, "--root", w.Home().Root(), "join", w.invite, "--no-start"}
		}, enrolled},
	}
}

// short is the command line of a short program.
func short(name string) func(w *world, folder string) (env, args []string) {
	return func(w *world, folder string) (env, args []string) {
		return []string{envCommand + "=" + name, envFolder + "=" + folder}, []string{w.self}
	}
}

// short runs a short program on the gate, undisturbed.
func (w *world) short(t *testing.T, name, folder string) {
	t.Helper()
	env, args := short(name)(w, folder)
	if _, err := w.Gate().Run(t.Context(), slices.Concat([]string{"env"}, env, args)...); err != nil {
		t.Errorf("%s without a fault: %v", name, err)
	}
}

// repaired checks the machine, and that the same again, without a fault, does
// all of it.
func repaired(name string) func(t *testing.T, w *world, folder string, failed *lab.ExitError) {
	return func(t *testing.T, w *world, folder string, failed *lab.ExitError) {
		before := w.tables[finds[name]]
		then, now := ours(t, w.Gate()), w.tables[name]
		if then != now && (failed == nil || then != before) {
			t.Errorf("the table is neither the old nor the new one:\n%s", difference(before, then))
		}
		w.gateHolds(t, name == "change")
		w.short(t, name, folder)
		if got := ours(t, w.Gate()); got != now {
			t.Errorf("the next start does not repair the table:\n%s", difference(now, got))
		}
		w.short(t, "down", folder)
		if got := settings(t, w.Gate(), counting) + w.foreign(t, w.Gate()); got != w.settings[gate]+w.clean[gate] {
			t.Errorf("down leaves changed:\n%s", difference(w.settings[gate]+w.clean[gate], got))
		}
	}
}

// finds says of each short program whose state it finds.
var finds = map[string]string{"change": "apply", "down": "apply", "apply": "down"}

// saved checks that the value is the old or the new one, and is saved again.
func saved(t *testing.T, w *world, folder string, failed *lab.ExitError) {
	for n, least := range []int{1, 2} {
		s, err := store.Open(folder, nil)
		must(t, err)
		var v value
		loaded, err := s.Load("value", &v)
		if err != nil || loaded.Warning != "" || v.N < least || v.N > n+2 || v.Key.IsZero() {
			t.Errorf("the value is %d, %+v, %v", v.N, loaded, err)
		}
		if n == 0 && failed == nil && v.N != 2 {
			t.Errorf("saving went well, and the value is %d", v.N)
		}
		must(t, s.Close())
		w.short(t, "save", folder)
	}
	entries, err := os.ReadDir(folder)
	must(t, err)
	if len(entries) != 3 {
		t.Errorf("the folder holds %v", entries)
	}
}

// enrolled checks that home has joined, or can with the same invite and key.
func enrolled(t *testing.T, w *world, _ string, failed *lab.ExitError) {
	w.holds(t, true)
	kept := keyOf(t, w.Home())
	err := join(t.Context(), w)
	if err != nil && !strings.Contains(err.Error(), "this machine is the home") {
		t.Errorf("the invite is lost: %v", err)
	}
	if failed == nil && err == nil {
		t.Error("joining went well, and home had not joined")
	}
	if kept != "" && keyOf(t, w.Home()) != kept {
		t.Error("the key is lost")
	}
}

// TestFailingCalls has system calls of short programs fail, one at a time.
func TestFailingCalls(t *testing.T) {
	w := newWorld(t)
	w.self = buildSelf(t)
	w.tables = map[string]string{"down": ""}
	folder := newFolder(t)
	for _, name := range []string{"apply", "change"} {
		w.short(t, name, folder)
		w.tables[name] = ours(t, w.Gate())
	}
	w.short(t, "down", folder)
	var outcomes []tried
	for i, o := range faulties() {
		t.Run(o.name, func(t *testing.T) {
			started := time.Now()
			r := tried{operation: o.name}
			for k, call := range calls {
				if *all {
					r.faults += w.everyFault(t, o, call)
				} else if k%3 == i%3 {
					r.faults += w.fail(t, o, fault{call, errnos[(i+k)%len(errnos)], middle(call)})
				}
			}
			outcomes = append(outcomes, r)
			t.Logf("%d faults, %s", r.faults, time.Since(started).Round(time.Millisecond))
			if r.faults == 0 {
				t.Error("no fault has happened")
			}
		})
	}
	text := faultTable(outcomes)
	if !*all {
		t.Logf("a sample of the faults, another third of the calls for each operation; make crash tries all of them\n%s", text)
		return
	}
	t.Log("\n" + text)
	if *update && !t.Failed() {
		writeTable(t, "faults", text)
	}
}

// middle is the number of a call that most operations have, behind those by
// which a process begins.
func middle(call string) int {
	switch call {
	case "openat":
		return 12
	case "write", "sendto":
		return 3
	default:
		return 1
	}
}

// everyFault fails each call of that name with every error, until there are
// no more of them. Threads begin where they like: a number may be missing.
func (w *world) everyFault(t *testing.T, o faulty, call string) (n int) {
	t.Helper()
	for number, missed := 1, 0; missed < 2 && !t.Failed(); number++ {
		hit := 0
		for _, errno := range errnos {
			if call == "openat" && errno == "EPERM" {
				continue // so the kernel hides processes (proc(5), hidepid): an sshd has no name then
			}
			hit += w.fail(t, o, fault{call, errno, number})
			if hit == 0 {
				break // no other error would hit
			}
		}
		if missed++; hit > 0 {
			missed = 0
		}
		n += hit
	}
	return n
}

// fail has one call of an operation fail, and looks at what is left. It
// returns 1, or 0 if there was no such call.
func (w *world) fail(t *testing.T, o faulty, f fault) int {
	t.Helper()
	folder := newFolder(t)
	o.prepare(t, w, folder)
	trace := filepath.Join(t.TempDir(), "trace")
	env, args := o.program(w, folder)
	tracer := []string{
		"strace", "-f", "--seccomp-bpf", "-qq", "-o", trace, "-e", "trace=" + f.call, "-e", "signal=none",
		"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", f.call, f.errno, f.number),
	}
	at := w.Gate()
	if o.name == "join" {
		at = w.Home()
	}
	_, err := at.Run(t.Context(), slices.Concat([]string{"env", "GOMAXPROCS=1"}, env, tracer, args)...)
	var failed *lab.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(trace)
	must(t, err)
	happened := strings.Count(string(text), "(INJECTED)")
	if failed != nil && happened == 0 {
		t.Errorf("it fails without a fault: %v", failed)
	}
	mute := slices.ContainsFunc(strings.Split(string(text), "\n"), func(l string) bool {
		return strings.Contains(l, "write(2, ") && strings.Contains(l, "(INJECTED)")
	})
	// The runtime's own call to wake a thread, and this test's own to look for
	// its orders, take a failure for the end.
	notOurs := failed != nil && (strings.Contains(failed.Stderr, "runtime: netpollBreak write failed") || strings.Contains(failed.Stderr, "step.readOrder("))
	if failed != nil && !said(failed) && happened > 0 && !mute && !notOurs {
		t.Errorf("no clear error, but: %v", failed)
	}
	o.check(t, w, folder, failed)
	if t.Failed() {
		t.Fatalf("that was %s: %s, %d times; %v\n%s", o.name, f, happened, failed, text)
	}
	return min(happened, 1)
}

// said reports whether a program has ended by itself and said why.
func said(failed *lab.ExitError) bool {
	crashed := slices.ContainsFunc([]string{"goroutine ", "panic:", "fatal error:"}, func(s string) bool { return strings.Contains(failed.Stderr, s) })
	return failed.Status > 0 && !crashed && strings.TrimSpace(failed.Stderr) != ""
}

func newFolder(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "state")
}

// tried is how many faults of an operation were tried and survived.
type tried struct {
	operation string
	faults    int
}

func faultTable(all []tried) string {
	var b strings.Builder
	b.WriteString("| operation | faults tried and survived |\n|---|---|\n")
	total := 0
	for _, r := range all {
		total += r.faults
		fmt.Fprintf(&b, "| %s | %d |\n", r.operation, r.faults)
	}
	fmt.Fprintf(&b, "| **all** | %d |\n", total)
	return b.String()
}
