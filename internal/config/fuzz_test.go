package config

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// seed adds the files of testdata, the good and the bad.
func seed(f *testing.F, add func(data []byte)) {
	f.Helper()
	count := 0
	for _, pattern := range []string{"testdata/*.toml", "testdata/errors/*.toml", "testdata/*.golden", "../../examples/*/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			add(readFile(f, file))
			count++
		}
	}
	if count < 20 {
		f.Fatalf("only %d seeds", count)
	}
}

// checkVerdict holds for every file: what is accepted is TOML, and what is
// refused is refused with places inside the file, in its order.
func checkVerdict(t *testing.T, data []byte, err error) {
	t.Helper()
	if err == nil {
		var all map[string]any
		if err := toml.Unmarshal(data, &all); err != nil {
			t.Errorf("accepted what is not TOML: %v", err)
		}
		return
	}
	lines := bytes.Count(data, []byte("\n")) + 1
	before := Error{}
	for _, e := range err.(Errors) {
		if e.Message == "" || e.Line > lines || e.Line == 0 && len(err.(Errors)) <= maxErrors {
			t.Errorf("bad error %+v", e)
		}
		if e.Line > 0 && (e.Line < before.Line || e.Line == before.Line && e.Column < before.Column) {
			t.Errorf("%v comes after %v", e, before)
		}
		before = e
	}
}

func FuzzParseGate(f *testing.F) {
	seed(f, func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := ParseGate(GateFile, data)
		checkVerdict(t, data, err)
		if err != nil {
			return
		}
		if !g.Tunnel.Prefix4.IsValid() || g.Tunnel.ListenPort == 0 || g.Policy.MaxForwards < 1 || len(g.Public.Endpoints) > maxEndpoints {
			t.Errorf("accepted as %+v", g)
		}
	})
}

func FuzzParseHome(f *testing.F) {
	seed(f, func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ParseHome(HomeFile, data)
		checkVerdict(t, data, err)
		if err != nil {
			return
		}
		for i, a := range h.Forwards {
			if len(a.Mappings) == 0 {
				t.Errorf("%s has no ports", a.Name)
			}
			for _, b := range h.Forwards[:i] {
				for _, p := range a.Mappings {
					for _, q := range b.Mappings {
						if p.Public.Overlaps(q.Public) {
							t.Errorf("%s and %s both have %s", a.Name, b.Name, p.Public)
						}
					}
				}
			}
		}
	})
}

func FuzzEdit(f *testing.F) {
	seed(f, func(data []byte) { f.Add(data, "new", "12345/udp") })
	f.Add([]byte("version = 1\r\n# end"), "web", "2222:22/tcp")
	f.Add([]byte("version = 1\n\n[forward]\nweb.ports = \"80\"\n"), "web", "443")
	f.Fuzz(func(t *testing.T, data []byte, name, port string) {
		untouched := bytes.Clone(data)
		if after, err := AddForward(data, NewForward{Name: name, Ports: []string{port}}); err == nil {
			checkAdded(t, data, after, name)
		}
		if after, err := RemoveForward(data, name); err == nil {
			checkRemoved(t, data, after, name)
		}
		if after, err := SetHomePolicy(data, name, []string{port}); err == nil {
			if _, err := ParseGate(GateFile, after); err != nil {
				t.Errorf("the policy made an invalid file: %v", err)
			}
		}
		if !bytes.Equal(data, untouched) {
			t.Error("the original was written to")
		}
	})
}

func checkAdded(t *testing.T, data, after []byte, name string) {
	t.Helper()
	if !bytes.HasPrefix(after, data) {
		t.Errorf("%q is not the start of %q", data, after)
	}
	if back, err := RemoveForward(after, name); err != nil || !bytes.Equal(back, data) {
		t.Errorf("got %q back from %q, %v; want %q", back, after, err, data)
	}
}

func checkRemoved(t *testing.T, data, after []byte, name string) {
	t.Helper()
	before, err := ParseHome(HomeFile, data)
	if err != nil {
		t.Fatal(err)
	}
	left, err := ParseHome(HomeFile, after)
	if err != nil {
		t.Fatalf("%q is not valid: %v", after, err)
	}
	if len(left.Forwards) != len(before.Forwards)-1 || len(after) >= len(data) {
		t.Errorf("%d forwards became %d", len(before.Forwards), len(left.Forwards))
	}
	for _, f := range left.Forwards {
		if f.Name == name {
			t.Errorf("%s is still there", name)
		}
	}
}
