// Package crash kills and stops the real program at every one of its steps
// (see package step), on a gate and a home in the lab, and looks each time at
// what its owner and the visitors have then.
//
// make test tries some steps of every operation, evenly spread; make crash
// tries all of them, and writes docs/crashes.md.
package crash

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

var (
	all    = flag.Bool("all", false, "try every step, not only some")
	update = flag.Bool("update", false, "with -all: write docs/crashes.md again")
)

func TestMain(m *testing.M) {
	lab.StandIn()
	if name := os.Getenv(envCommand); name != "" {
		os.Exit(command(name, os.Getenv(envFolder)))
	}
	netnstest.Main(m)
}

// buildProgram builds the program with numbered steps, and without the race
// detector: hundreds of its processes are started.
func buildProgram(t *testing.T) string {
	t.Helper()
	return build(t, "build", "-tags", "steps", "../cmd/gatelodge")
}

// buildSelf builds this test in the same way, for its short programs.
func buildSelf(t *testing.T) string {
	t.Helper()
	return build(t, "test", "-c", ".")
}

// build runs the go command with the name of a new file, which it returns.
func build(t *testing.T, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	last := len(args) - 1
	args = slices.Concat(args[:last], []string{"-buildvcs=false", "-o", file}, args[last:])
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	return file
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outcome is what became of the steps of an operation.
type outcome struct {
	operation       string
	steps           int
	killed, stopped int // tried, all survived
}

// table is the outcomes as docs/crashes.md shows them.
func table(outcomes []outcome) string {
	var b strings.Builder
	b.WriteString("| operation | steps | killed and survived | stopped and survived |\n|---|---|---|---|\n")
	total := outcome{operation: "**all**"}
	for _, o := range outcomes {
		total.steps, total.killed, total.stopped = total.steps+o.steps, total.killed+o.killed, total.stopped+o.stopped
		o.row(&b)
	}
	total.row(&b)
	return b.String()
}

func (o outcome) row(b *strings.Builder) {
	fmt.Fprintf(b, "| %s | %d | %d | %d |\n", o.operation, o.steps, o.killed, o.stopped)
}

// writeTable puts a table into the document, in the place of the last one.
func writeTable(t *testing.T, name, text string) {
	t.Helper()
	const document = "../docs/crashes.md"
	from, to := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
	content, err := os.ReadFile(document)
	must(t, err)
	before, rest, found := strings.Cut(string(content), from)
	_, after, ended := strings.Cut(rest, to)
	if !found || !ended {
		t.Fatalf("%s has no place for the table of %s", document, name)
	}
	must(t, os.WriteFile(document, []byte(before+from+text+to+after), 0o644))
}
