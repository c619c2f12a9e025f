package home

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/store"
)

// before opens a copy of the state that the version before has written, in a lab
// of its own: one home, three forwards, one of them refused.
func before(t *testing.T) *store.Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	must(t, os.Mkdir(dir, 0o700))
	for _, name := range []string{"home.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", "before", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	st, err := store.Open(dir, nil)
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	return st
}

// body is what a file of the store holds.
func body(t *testing.T, st *store.Store, name string) any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(st.Dir(), name+".json"))
	must(t, err)
	var v struct{ Body any }
	must(t, json.Unmarshal(text, &v))
	if v.Body == nil {
		t.Fatalf("%s holds nothing", name)
	}
	return v.Body
}

// A home finds its key, its place and the number of its last list.
func TestTheStateOfAHomeOfBefore(t *testing.T) {
	st := before(t)
	was := body(t, st, membership.StoredName)
	h := &link{store: st}
	must(t, h.recall())
	if m := h.memory; m.PrivateKey.IsZero() || m.Joined.Name != "home" || len(m.Joined.Addresses) != 2 || m.Generation != 3 || !m.LastEndpoint.IsValid() {
		t.Errorf("%+v", m)
	}
	must(t, h.remember(func(*membership.Memory) {}))
	if now := body(t, st, membership.StoredName); !reflect.DeepEqual(was, now) {
		t.Errorf("it is kept as %v, and was %v", now, was)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
