package store

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
)

// disk is a file system that can lose power. Content is on the disk when
// Create returns; names are when Sync does, and before that the disk may keep
// any of the changes to them and forget the others.
type disk struct {
	durable map[string][]byte
	pending []func(map[string][]byte)
	steps   int
	// fault is asked before every step that changes something. It can let a
	// Create write only so many bytes before it fails.
	fault func(step int, op string) (written int, err error)
}

func newDisk() *disk { return &disk{durable: map[string][]byte{}} }

func (d *disk) step(op string) (int, error) {
	d.steps++
	if d.fault == nil {
		return 0, nil
	}
	return d.fault(d.steps, op)
}

// visible is what a running process sees.
func (d *disk) visible() map[string][]byte { return d.after(1<<len(d.pending) - 1) }

// after is what is left after a power cut, if the disk kept those pending
// changes whose bit is set in kept.
func (d *disk) after(kept int) map[string][]byte {
	left := maps.Clone(d.durable)
	for i, change := range d.pending {
		if kept&(1<<i) != 0 {
			change(left)
		}
	}
	return left
}

func (d *disk) Read(name string) ([]byte, error) {
	content, ok := d.visible()[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(content), nil
}

func (d *disk) Create(name string, content []byte) error {
	written, err := d.step("create")
	if err == nil {
		written = len(content)
	}
	part := slices.Clone(content[:min(written, len(content))])
	d.pending = append(d.pending, func(m map[string][]byte) { m[name] = part })
	return err
}

func (d *disk) Rename(from, to string) error {
	if _, err := d.step("rename"); err != nil {
		return err
	}
	// A rename that is kept brings its file along, also if the disk forgot
	// the file's former name.
	content := d.visible()[from]
	d.pending = append(d.pending, func(m map[string][]byte) {
		m[to] = content
		delete(m, from)
	})
	return nil
}

func (d *disk) Remove(name string) error {
	if _, err := d.step("remove"); err != nil {
		return err
	}
	if _, ok := d.visible()[name]; !ok {
		return fs.ErrNotExist
	}
	d.pending = append(d.pending, func(m map[string][]byte) { delete(m, name) })
	return nil
}

func (d *disk) Sync() error {
	if _, err := d.step("sync"); err != nil {
		return err
	}
	d.durable, d.pending = d.visible(), nil
	return nil
}

// on returns a store on the disk.
func on(d *disk) *Store { return &Store{dir: "state", files: d} }

// holding returns a disk with the given files, all of them durable.
func holding(contents map[string][]byte) *disk { return &disk{durable: contents} }

type value struct {
	Text  string
	Count int
}

func mustSave(t testing.TB, s *Store, v value) {
	t.Helper()
	if err := s.Save("gate", v); err != nil {
		t.Fatal(err)
	}
}

var errPower = errors.New("the power is gone")

// A power cut at every step of a Save, with the file half written and with
// every choice of what the disk forgets, leaves the old value or the new one.
func TestPowerCut(t *testing.T) {
	old, next := value{"old", 1}, value{"next", 2}
	states := 0
	for _, fresh := range []bool{true, false} {
		for _, written := range []int{0, 1, 60, 1 << 20} {
			for step, done := 1, false; !done; step++ {
				d := newDisk()
				if !fresh {
					mustSave(t, on(d), old)
				}
				d.steps = 0
				d.fault = func(n int, _ string) (int, error) {
					if n >= step {
						return written, errPower
					}
					return 0, nil
				}
				err := on(d).Save("gate", next)
				done = err == nil
				for kept := range 1 << len(d.pending) {
					states++
					survives(t, d.after(kept), fresh, done, old, next)
				}
			}
		}
	}
	if states < 50 {
		t.Errorf("only %d states were looked at", states)
	}
}

func survives(t *testing.T, left map[string][]byte, fresh, done bool, old, next value) {
	t.Helper()
	s := on(holding(left))
	var got value
	loaded, err := s.Load("gate", &got)
	switch {
	case err != nil:
		t.Fatalf("cannot load: %v (files %v)", err, slices.Collect(maps.Keys(left)))
	case done && got != next, !fresh && !loaded.Found, loaded.Found && got != next && (fresh || got != old):
		t.Fatalf("loaded %+v, %+v (files %v)", loaded, got, slices.Collect(maps.Keys(left)))
	}
	mustSave(t, s, value{"later", 3})
	if _, err := s.Load("gate", &got); err != nil || got.Count != 3 {
		t.Fatalf("after the next save: %+v, %v", got, err)
	}
}

// A step that fails while the machine goes on leaves a whole value and no
// litter; without space, the old value.
func TestFailingSteps(t *testing.T) {
	for _, cause := range faults {
		for step, done := 1, false; !done; step++ {
			d := newDisk()
			mustSave(t, on(d), value{"old", 1})
			d.steps = 0
			var failed string
			d.fault = func(n int, op string) (int, error) {
				if n != step {
					return 0, nil
				}
				failed = op
				return 10, cause.err
			}
			err := on(d).Save("gate", value{"next", 2})
			done = failed == ""
			if done {
				break
			}
			if !errors.Is(err, cause.err) || !strings.Contains(err.Error(), cause.says) {
				t.Errorf("step %d: error %v, want %q in it", step, err, cause.says)
			}
			checkAfter(t, d, failed)
		}
	}
}

func checkAfter(t *testing.T, d *disk, failed string) {
	t.Helper()
	var got value
	loaded, err := on(d).Load("gate", &got)
	if err != nil || loaded.Warning != "" {
		t.Errorf("after a failed %s: %+v, %v", failed, loaded, err)
	}
	if failed == "create" && got.Count != 1 {
		t.Errorf("after a failed %s: %+v, want the old value", failed, got)
	}
	for name := range d.visible() {
		if strings.Contains(name, temporaryMark) {
			t.Errorf("after a failed %s: %s is left over", failed, name)
		}
	}
}

// Every single damage to the file is survived by means of the copy.
func TestDamage(t *testing.T) {
	want := value{"old", 1}
	d := newDisk()
	mustSave(t, on(d), want)
	good := d.durable["gate.json"]
	check := func(what string, at int, content []byte) {
		t.Helper()
		s := on(holding(map[string][]byte{"gate.json": content, "gate.json.last": good}))
		var got value
		loaded, err := s.Load("gate", &got)
		if err != nil || got != want {
			t.Fatalf("%s at %d: %+v, %v", what, at, got, err)
		}
		if loaded.Warning == "" {
			return // the damage did not change the meaning: the case of a letter in "body"
		}
		files := s.files.(*disk).visible()
		if !bytes.Equal(files["gate.json.damaged-1"], content) || !bytes.Equal(files["gate.json"], good) {
			t.Fatalf("%s at %d: set aside %q, repaired %q", what, at, files["gate.json.damaged-1"], files["gate.json"])
		}
		if !strings.Contains(loaded.Warning, "state/gate.json was damaged") || !strings.Contains(loaded.Warning, "gate.json.damaged-1") {
			t.Fatalf("warning %q", loaded.Warning)
		}
	}
	for at := range good {
		if at < len(good)-1 { // without its last byte, a line feed, the file is still whole
			check("truncated", at, good[:at])
		}
		for bit := range 8 {
			flipped := slices.Clone(good)
			flipped[at] ^= 1 << bit
			check("flipped", at, flipped)
		}
	}
	check("zeroes", 0, make([]byte, len(good)))
}

func TestBothDamaged(t *testing.T) {
	files := map[string][]byte{"gate.json": {}, "gate.json.last": []byte("{}")}
	s := on(holding(maps.Clone(files)))
	_, err := s.Load("gate", new(value))
	if _, ok := errors.AsType[*DamagedError](err); !ok || !strings.Contains(err.Error(), "backup") {
		t.Errorf("error %v does not say what to do", err)
	}
	if got := s.files.(*disk).visible(); !maps.EqualFunc(files, got, bytes.Equal) {
		t.Errorf("files were changed: %q", got)
	}
	// A Save does not bury the evidence either.
	mustSave(t, s, value{"new", 2})
	if got := s.files.(*disk).visible(); got["gate.json.damaged-1"] == nil {
		t.Error("the damaged file is gone")
	}
}

func TestMissingFile(t *testing.T) {
	d := newDisk()
	mustSave(t, on(d), value{"old", 1})
	delete(d.durable, "gate.json")
	var got value
	loaded, err := on(d).Load("gate", &got)
	if err != nil || got.Count != 1 || !strings.Contains(loaded.Warning, "missing") {
		t.Errorf("%+v, %+v, %v", loaded, got, err)
	}
	if loaded, err = on(d).Load("gate", &got); err != nil || loaded.Warning != "" {
		t.Errorf("not repaired: %+v, %v", loaded, err)
	}
}

// A disk that takes no writes still gives its values.
func TestRepairImpossible(t *testing.T) {
	for _, broken := range []string{"create", "rename", "sync"} {
		d := newDisk()
		mustSave(t, on(d), value{"old", 1})
		d.durable["gate.json"] = nil
		d.fault = func(_ int, op string) (int, error) {
			if op == broken {
				return 0, errPower
			}
			return 0, nil
		}
		var got value
		loaded, err := on(d).Load("gate", &got)
		if err != nil || got.Count != 1 || !strings.Contains(loaded.Warning, "could not be repaired") {
			t.Errorf("%s: %+v, %+v, %v", broken, loaded, got, err)
		}
	}
}
