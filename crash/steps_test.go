package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestEveryStep kills, and stops, the process of every operation at its steps.
func TestEveryStep(t *testing.T) {
	w := newWorld(t)
	var outcomes []outcome
	for _, o := range operations() {
		t.Run(o.name, func(t *testing.T) {
			started := time.Now()
			result := w.sample(t, o)
			if *all {
				result = w.everyStep(t, o)
			}
			outcomes = append(outcomes, result)
			t.Logf("%d steps, %s", result.steps, time.Since(started).Round(time.Millisecond))
		})
	}
	text := table(outcomes)
	if !*all {
		t.Logf("a sample of the steps, evenly spread; make crash tries all of them\n%s", text)
		return
	}
	t.Log("\n" + text)
	if *update && !t.Failed() {
		writeTable(t, "steps", text)
	}
}

// early is a step that every operation has, between its first and its last.
const early = 3

// sample stops an operation early, which then goes on and shows how many steps
// it has, and kills it in the middle of them.
func (w *world) sample(t *testing.T, o operation) outcome {
	t.Helper()
	r := outcome{operation: o.name, stopped: w.try(t, o, "stop", early)}
	r.steps = len(w.log(t))
	if r.stopped == 0 || r.steps <= early {
		t.Fatalf("only %d steps: %v", r.steps, w.log(t))
	}
	r.killed = w.try(t, o, "kill", r.steps/2+1)
	return r
}

// everyStep kills and stops an operation at each number, until the number
// exceeds the last: twice, as some have a step more at times.
func (w *world) everyStep(t *testing.T, o operation) outcome {
	t.Helper()
	r := outcome{operation: o.name}
	for n, beyond := 1, 0; beyond < 2 && !t.Failed(); n++ {
		killed, stopped := w.try(t, o, "kill", n), w.try(t, o, "stop", n)
		r.killed, r.stopped = r.killed+killed, r.stopped+stopped
		if killed+stopped == 0 {
			beyond++
			continue
		}
		r.steps, beyond = n, 0
	}
	return r
}

// order has the victim's process act at a step, until the returned function is
// called.
func (w *world) order(t *testing.T, o operation, action string, n int) (end func()) {
	t.Helper()
	if err := os.Remove(w.file("log")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	text := fmt.Sprintln(action, n, w.host(o.victim).Root(), o.verb)
	must(t, os.WriteFile(w.file("order.new"), []byte(text), 0o600))
	must(t, os.Rename(w.file("order.new"), w.file("order")))
	return func() {
		if err := os.Remove(w.file("order")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func (w *world) file(name string) string { return filepath.Join(w.orders, name) }

// log returns the steps taken so far: process, number, words.
func (w *world) log(t *testing.T) [][]string {
	t.Helper()
	text, err := os.ReadFile(w.file("log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var steps [][]string
	for line := range strings.Lines(string(text)) {
		steps = append(steps, strings.Fields(line))
	}
	return steps
}

// try does an operation and has its process act at a step, looks at what is
// left, and has it repaired. It returns how many steps it has survived: 0 if
// the operation had ended before.
func (w *world) try(t *testing.T, o operation, action string, n int) int {
	t.Helper()
	o.prepare(t, w)
	victim := w.host(o.victim)
	before, keyBefore := w.look(t, victim), keyOf(t, victim)
	end := w.order(t, o, action, n)
	defer end()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- o.run(ctx, w) }()
	step, pid := w.await(t, n, action, ended)
	if pid == 0 {
		end()
		o.again(t, w)
		return 0
	}
	at := fmt.Sprintf("%s, %s at step %d (%s)", o.name, action, n, step)
	w.holds(t, o.stands)
	then, keyThen := w.look(t, victim), keyOf(t, victim)
	if action == "stop" {
		must(t, syscall.Kill(pid, syscall.SIGCONT))
		if err := <-ended; err != nil {
			t.Errorf("%s: going on: %v", at, err)
		}
		end()
	} else {
		end()
		if o.impatient {
			cancel()
		}
		w.revive(t, o, ended)
	}
	could := []state{before}
	if action == "stop" || o.verb == "run" {
		could = append(could, w.look(t, victim)) // the operation was completed
	}
	o.again(t, w)
	could = append(could, w.look(t, victim))
	if o.verb == "join" {
		// The gate's answer is kept, and the file is not there yet: joining again
		// has written it.
		could = append(could, state{Memory: stored(t, victim)})
	}
	oldOrNew(t, "table", then, could, func(s state) string { return s.Table })
	oldOrNew(t, "memory", then, could, func(s state) string { return s.Memory })
	keyAfter := keyOf(t, victim)
	if keyBefore != "" && keyThen != keyBefore || keyThen != "" && keyAfter != keyThen {
		t.Errorf("the key is lost")
	}
	w.holds(t, false)
	if t.Failed() {
		t.Errorf("that was: %s", at)
	}
	return 1
}

// revive starts a daemon that was killed, so that what was asked of it by
// another process can end; that may go either way.
func (w *world) revive(t *testing.T, o operation, ended <-chan error) {
	t.Helper()
	victim := w.host(o.victim)
	if o.verb == "run" {
		eventually(t, "the end of the daemon", func(context.Context) error {
			if victim.PID() != 0 {
				return errors.New("it runs")
			}
			return nil
		})
		// What was asked of the daemon itself may still wait for it.
		if strings.Contains(o.name, "start") {
			<-ended
		}
		w.up(t, victim)
	}
	if !strings.Contains(o.name, "start") {
		<-ended
	}
}

// oldOrNew checks that a part of the state at a crash is that of one of the
// states before and after.
func oldOrNew(t *testing.T, what string, then state, could []state, part func(state) string) {
	t.Helper()
	for _, c := range could {
		if part(then) == part(c) {
			return
		}
	}
	t.Errorf("the %s is neither the old nor the new one", what)
	for i, c := range could {
		t.Logf("(-state %d +then)\n%s", i, difference(part(c), part(then)))
	}
}

// await waits until the process has acted at the step, and returns which it
// was and the process; 0 if the operation ended without.
func (w *world) await(t *testing.T, n int, action string, ended <-chan error) (step string, pid int) {
	t.Helper()
	eventually(t, "step "+strconv.Itoa(n), func(context.Context) error {
		done := len(ended) > 0
		for _, s := range w.log(t) {
			if len(s) < 2 || s[1] != strconv.Itoa(n) {
				continue
			}
			p, err := strconv.Atoi(s[0])
			must(t, err)
			if !acted(p, action) {
				return errors.New("the step is reached, the process goes on")
			}
			step, pid = strings.Join(s[2:], " "), p
			return nil
		}
		if done {
			return nil
		}
		return errors.New("not reached")
	})
	return step, pid
}

// acted reports whether a process is gone, or stopped.
func acted(pid int, action string) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return action == "kill"
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	if action == "stop" {
		return strings.HasPrefix(rest, "T")
	}
	return strings.HasPrefix(rest, "Z")
}
