//go:build vm

package vmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// row is one line of the suite's table.
type row struct {
	scenario, promises, device, result string
	took                               time.Duration
	figure                             string
}

var rows []row

// result is how a test ended.
func result(t *testing.T) string {
	switch {
	case t.Failed():
		return "FAILED"
	case t.Skipped():
		return "skipped"
	default:
		return "ok"
	}
}

// writeReport shows the table, and keeps it beside the consoles' logs.
func writeReport() error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "scenario\tpromises\tdevice\tresult\tseconds\tfigure")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.0f\t%s\n", r.scenario, r.promises, r.device, r.result, r.took.Seconds(), r.figure)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Print(b.String())
	return os.WriteFile(filepath.Join(*output, "report.txt"), []byte(b.String()), 0o644)
}
