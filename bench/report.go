package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// row is a line of the table.
type row struct {
	Key    string `json:"key"`
	Title  string `json:"title"`
	Unit   string `json:"unit"`
	format string
}

var rows = []row{
	{"1-in", "TCP, 1 stream in", "Gbit/s", "%.2f"},
	{"1-out", "TCP, 1 stream out", "Gbit/s", "%.2f"},
	{"8-in", "TCP, 8 streams in", "Gbit/s", "%.2f"},
	{"8-out", "TCP, 8 streams out", "Gbit/s", "%.2f"},
	{"echo", "UDP, 64 bytes there and back", "per second", "%.0f"},
	{"connections", "new connections, answered", "per second", "%.0f"},
	{"latency", "request and answer, median", "µs", "%.0f"},
	{"1-in-cpu", "CPU of both daemons, 1 in", "s/GB", "%.2f"},
	{"1-out-cpu", "CPU of both daemons, 1 out", "s/GB", "%.2f"},
	{"8-in-cpu", "CPU of both daemons, 8 in", "s/GB", "%.2f"},
	{"8-out-cpu", "CPU of both daemons, 8 out", "s/GB", "%.2f"},
	{"echo-cpu", "CPU of both daemons, UDP", "µs/echo", "%.1f"},
	{"gate-idle", "memory of the gate, idle", "MiB", "%.0f"},
	{"home-idle", "memory of the home, idle", "MiB", "%.0f"},
	{"gate-peak", "memory of the gate, peak", "MiB", "%.0f"},
	{"home-peak", "memory of the home, peak", "MiB", "%.0f"},
	{"join", "join until the first visitor is answered", "s", "%.2f"},
	{"size", "size of the program", "MiB", "%.1f"},
}

// report holds what was measured, one number a round.
type report struct {
	options options
	start   time.Time
	load    string
	figures map[string]map[string][]float64 // by kind, then key
}

func newReport(o options) report {
	r := report{options: o, start: time.Now(), load: machineLoad(), figures: map[string]map[string][]float64{}}
	for _, kind := range o.kinds() {
		r.figures[kind] = map[string][]float64{}
	}
	return r
}

// machineLoad is what others do on this machine as the run starts: the load of
// the last minute.
func machineLoad() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	load, _, _ := strings.Cut(string(text), " ")
	return load
}

func (r report) add(kind string, v values) {
	for key, x := range v {
		r.figures[kind][key] = append(r.figures[kind][key], x)
	}
}

func (r report) addSizes(o options) error {
	other := o.PlainWG
	if o.Beside != "" {
		other = o.Beside
	}
	for kind, file := range map[string]string{kindGatelodge: o.Binary, o.other(): other} {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		r.add(kind, values{"size": float64(info.Size()) / (1 << 20)})
	}
	return nil
}

// ratios compares the two round by round, since only what was measured side by
// side had the same machine.
func (r report) ratios(key string) []float64 {
	var ratios []float64
	ours, other := r.figures[kindGatelodge][key], r.figures[r.options.other()][key]
	for i := range min(len(ours), len(other)) {
		ratios = append(ratios, ours[i]/other[i])
	}
	return ratios
}

// median returns false if there is nothing to take it of.
func median(list []float64) (float64, bool) {
	if len(list) == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(list))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle], true
	}
	return (sorted[middle-1] + sorted[middle]) / 2, true
}

// wires says what the cables carry.
func (o options) wires() string {
	if o.Whole {
		return "segments of 64 KiB whole"
	}
	return "frames of the MTU, as wires do"
}

func (r report) writeText(w io.Writer) error {
	fmt.Fprintf(w, `Gatelodge beside %s
%d rounds, windows of %s, %d processors for all hosts, load %s before, took %s
each in a lab of its own at the same time, measured one after the other figure
by figure; the wires carry %s
median (lowest to highest); the ratio is the median of those of each round

`, r.options.describeOther(), r.options.Rounds, r.options.Window, runtime.NumCPU(), r.load, time.Since(r.start).Round(time.Second), r.options.wires())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "in is from the visitor to home\tGatelodge\t%s\tratio\t\n", r.options.other())
	for _, row := range rows {
		ratio := "–"
		if m, ok := median(r.ratios(row.Key)); ok {
			ratio = fmt.Sprintf("%.2f", m)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", row.Title, r.cell(kindGatelodge, row), r.cell(r.options.other(), row), ratio, row.Unit)
	}
	return t.Flush()
}

// describeOther says what Gatelodge is compared with.
func (o options) describeOther() string {
	if o.Beside != "" {
		return "another build of it, " + o.Beside
	}
	return "plain wireguard-go with DNAT and masquerade"
}

func (r report) cell(kind string, row row) string {
	list := r.figures[kind][row.Key]
	m, ok := median(list)
	if !ok {
		return "–"
	}
	text := fmt.Sprintf(row.format, m)
	if len(list) > 1 {
		text += fmt.Sprintf(" ("+row.format+" to "+row.format+")", slices.Min(list), slices.Max(list))
	}
	return text
}

// line is a row with its numbers; a median that there is none of is null.
type line struct {
	row
	Gatelodge       []float64 `json:"gatelodge"`
	Other           []float64 `json:"other,omitempty"`
	GatelodgeMedian *float64  `json:"gatelodge_median"`
	OtherMedian     *float64  `json:"other_median"`
	Ratio           *float64  `json:"ratio"`
}

func (r report) writeJSON(w io.Writer) error {
	out := struct {
		Beside     string  `json:"beside"`
		Rounds     int     `json:"rounds"`
		Window     float64 `json:"window_seconds"`
		Wires      string  `json:"wires"`
		Processors int     `json:"processors"`
		Load       string  `json:"load_before"`
		Took       float64 `json:"took_seconds"`
		Figures    []line  `json:"figures"`
	}{
		r.options.describeOther(), r.options.Rounds, r.options.Window.Seconds(), r.options.wires(), runtime.NumCPU(), r.load, time.Since(r.start).Seconds(), nil,
	}
	for _, row := range rows {
		ours, other := r.figures[kindGatelodge][row.Key], r.figures[r.options.other()][row.Key]
		out.Figures = append(out.Figures, line{row, ours, other, orNull(median(ours)), orNull(median(other)), orNull(median(r.ratios(row.Key)))})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func orNull(x float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	return &x
}
