package gate

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/gatelodge/gatelodge/internal/store"
)

// before opens a copy of the state that the version before has written, in a lab
// of its own: one home, three forwards, one of them refused.
func before(t *testing.T) *store.Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	must(t, os.Mkdir(dir, 0o700))
	for _, name := range []string{"gate.json"} {
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

// A gate finds its key, its homes and what it has granted them, and what it
// writes then the version before can read again.
func TestTheStateOfAGateOfBefore(t *testing.T) {
	st := before(t)
	was := body(t, st, storedName)
	var m stored
	if loaded, err := st.Load(storedName, &m); err != nil || !loaded.Found || loaded.Warning != "" {
		t.Fatalf("%+v, %v", loaded, err)
	}
	g := newTestMemory(t)
	g.state.Key, g.state.Registry = m.PrivateKey.Private, m.Registry
	h := m.Registry.Homes[0]
	g.state.Config.Tunnel.Prefix6 = netip.PrefixFrom(h.Address6, 64).Masked()
	must(t, m.Registry.Check(g.state.Identity()))
	var granted []string
	for _, f := range m.Registry.Granted() {
		granted = append(granted, f.Published.Name)
	}
	if h.Name != "home" || h.Generation != 3 || len(h.Forwards) != 3 || !slices.Equal(granted, []string{"echo", "shell"}) {
		t.Errorf("%+v, granted %v", h, granted)
	}
	if m.Input == nil || !m.Input.Protect || len(m.SSHPorts) == 0 {
		t.Errorf("the policy that was kept: %+v, %v", m.Input, m.SSHPorts)
	}
	must(t, st.Save(storedName, m))
	if now := body(t, st, storedName); !reflect.DeepEqual(was, now) {
		t.Errorf("it is kept as %v, and was %v", now, was)
	}
}
