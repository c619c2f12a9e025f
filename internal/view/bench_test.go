package view_test

import (
	"fmt"
	"testing"

	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/view"
)

// A gate with many forwards is shown at once: to be below 100 ms at 10,000.
func BenchmarkReport(b *testing.B) {
	r := gateReport()
	for i := range 10_000 {
		r.Forwards = append(r.Forwards, status.Forward{Name: fmt.Sprintf("service-%d", i), Home: "attic", Ports: []string{"80/tcp", "443/tcp"}, State: status.Granted})
	}
	for b.Loop() {
		view.Report(r, now, view.Style{Columns: 80, Colour: true})
	}
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/op")
}
