package config

import (
	"path/filepath"
	"testing"
)

// Every example is valid, and each scenario has both sides.
func TestExamples(t *testing.T) {
	scenarios, err := filepath.Glob("../../examples/*/" + GateFile)
	if err != nil || len(scenarios) < 4 {
		t.Fatalf("found %d scenarios, err %v", len(scenarios), err)
	}
	for _, file := range scenarios {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			gate, err := ParseGate(GateFile, readFile(t, filepath.Join(dir, GateFile)))
			if err != nil {
				t.Error(err)
			}
			home, err := ParseHome(HomeFile, readFile(t, filepath.Join(dir, HomeFile)))
			if err != nil {
				t.Error(err)
			}
			if len(gate.Public.Endpoints) == 0 || len(home.Forwards) == 0 {
				t.Error("an example shows where the gate is and what is published")
			}
		})
	}
}

// What the homes of the examples publish, the policies beside them allow.
func TestExamplesFit(t *testing.T) {
	homes := map[string]string{"tutorial": "home", "family-minecraft": "home", "mail": "mail", "two-homes": "cabin"}
	for dir, name := range homes {
		gate, err := ParseGate(GateFile, readFile(t, filepath.Join("../../examples", dir, GateFile)))
		if err != nil {
			t.Fatal(err)
		}
		home, err := ParseHome(HomeFile, readFile(t, filepath.Join("../../examples", dir, HomeFile)))
		if err != nil {
			t.Fatal(err)
		}
		allowed := gate.PolicyOf(name).Allowed()
		for _, f := range home.Forwards {
			for _, p := range f.Published().Ports {
				if !allowed.Contains(p) {
					t.Errorf("%s: %s of %s is not allowed", dir, p, f.Name)
				}
			}
		}
	}
}
