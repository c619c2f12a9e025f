package gatelodge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// linked is a package that the product is linked with.
type linked struct {
	ImportPath string
	Imports    []string
	Module     *struct {
		Path string
		Main bool
	}
}

// product returns all packages that gatelodge is linked with, by their paths.
func product(t *testing.T) map[string]linked {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Module", "./cmd/gatelodge").Output()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	all := map[string]linked{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p linked
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
	if len(all) < 100 {
		t.Fatalf("go list names only %d packages", len(all))
	}
	return all
}

func (l linked) ours() bool { return l.Module != nil && l.Module.Main }

// TestTheProductCarriesNoLab fails when the product is linked with what shows
// and tests it. A library for namespaces comes in with the one for netlink,
// which can act in other namespaces; none of our own code may use it.
func TestTheProductCarriesNoLab(t *testing.T) {
	const namespaces = "github.com/vishvananda/netns"
	for _, p := range product(t) {
		if own := strings.TrimPrefix(p.ImportPath, module); own == "internal/lab" || strings.HasPrefix(own, "internal/lab/") {
			t.Errorf("the product is linked with %s", own)
		}
		if slices.Contains(p.Imports, namespaces) && !strings.HasPrefix(p.ImportPath, "github.com/vishvananda/netlink") {
			t.Errorf("%s imports %s", p.ImportPath, namespaces)
		}
	}
}

// flagsOfCobra is the part of cobra that is a module of its own: who uses the one has
// the other.
const flagsOfCobra = "github.com/spf13/pflag"

// TestTheProductHasFewDirectDependencies counts the modules that our code in
// the product imports itself. What tests, lab, benchmarks and packaging need
// does not count.
func TestTheProductHasFewDirectDependencies(t *testing.T) {
	const most = 12
	all, direct := product(t), map[string]bool{}
	for _, p := range all {
		if !p.ours() {
			continue
		}
		for _, i := range p.Imports {
			if other := all[i]; other.Module != nil && !other.Module.Main && other.Module.Path != flagsOfCobra {
				direct[other.Module.Path] = true
			}
		}
	}
	if names := slices.Sorted(maps.Keys(direct)); len(names) < 5 || len(names) > most {
		t.Errorf("the product has %d direct dependencies, and should have %d at most:\n%s", len(names), most, strings.Join(names, "\n"))
	}
}
