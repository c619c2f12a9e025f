package gatelodge_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promisesFile lists what the product promises, and the test of each.
const promisesFile = "docs/promises.md"

var (
	promiseRow = regexp.MustCompile(`^\| (\d+) \|.*\|([^|]*)\|[^|]*\|$`) // the number, and what shows it
	testName   = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	scenario   = regexp.MustCompile(`"([^"]+)"`)
	declared   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
)

// TestEveryPromiseHasItsTest fails when a promise names no test, or one that
// does not exist: of go test, or a scenario of the virtual machines.
func TestEveryPromiseHasItsTest(t *testing.T) {
	tests, machines := suites(t)
	seen := map[string]bool{}
	for line := range strings.Lines(read(t, promisesFile)) {
		row := promiseRow.FindStringSubmatch(strings.TrimSpace(line))
		if row == nil {
			continue
		}
		number, shownBy := row[1], row[2]
		if seen[number] {
			t.Errorf("promise %s is there twice", number)
		}
		seen[number] = true
		named, scenarios := testName.FindAllStringSubmatch(shownBy, -1), scenario.FindAllStringSubmatch(shownBy, -1)
		for _, m := range named {
			if !tests[m[1]] {
				t.Errorf("promise %s: there is no test %s", number, m[1])
			}
		}
		for _, m := range scenarios {
			if !strings.Contains(machines, m[0]) {
				t.Errorf("promise %s: the machines have no scenario %s", number, m[0])
			}
		}
		if len(named)+len(scenarios) == 0 {
			t.Errorf("promise %s names no test", number)
		}
	}
	if len(seen) < 40 {
		t.Errorf("%s has %d promises", promisesFile, len(seen))
	}
}

// suites returns the names of all tests, and the text of the machines' suite.
func suites(t *testing.T) (tests map[string]bool, machines string) {
	t.Helper()
	tests = map[string]bool{}
	for _, file := range files(t, "_test.go") {
		text := read(t, file)
		for _, m := range declared.FindAllStringSubmatch(text, -1) {
			tests[m[1]] = true
		}
		if filepath.Dir(file) == "vmtest" {
			machines += text
		}
	}
	return tests, machines
}

// files returns the paths of the repository that end so.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(file, suffix) {
			found = append(found, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
