package demo

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Result is what came of one probe.
type Result struct {
	Title   string     `json:"title"`
	Asker   string     `json:"asker,omitempty"` // the home that asked the gate; then there is no visitor
	Visitor netip.Addr `json:"visitor,omitzero"`
	// Gate, Port and Protocol are where the visitor knocked.
	Gate     netip.Addr    `json:"gate"`
	Port     uint16        `json:"port"`
	Protocol string        `json:"protocol"`
	Host     string        `json:"host,omitempty"` // who must answer; empty: nobody
	Saw      netip.Addr    `json:"saw,omitzero"`   // whom the service saw
	Want     netip.Addr    `json:"want,omitzero"`  // whom it must see
	OK       bool          `json:"ok"`
	Duration time.Duration `json:"duration_ns"`
	Detail   string        `json:"detail,omitempty"`
}

// Device says which WireGuard a host uses.
type Device struct {
	Host string `json:"host"`
	Kind string `json:"kind"` // "kernel" or "embedded"
}

// Log is the end of what a daemon has written.
type Log struct {
	Host string   `json:"host"`
	File string   `json:"file"`
	Tail []string `json:"tail"`
}

// Report is what a whole run has shown.
type Report struct {
	Results     []Result      `json:"results"`
	FirstAnswer time.Duration `json:"join_to_first_answer_ns"`
	Devices     []Device      `json:"devices"`
	Logs        []Log         `json:"logs,omitempty"` // where something failed
}

// OK reports whether every probe held, and there were any.
func (r Report) OK() bool { return len(r.Results) > 0 && r.Failed() == 0 }

// Failed counts the probes that did not hold.
func (r Report) Failed() int {
	n := 0
	for _, p := range r.Results {
		if !p.OK {
			n++
		}
	}
	return n
}

// WriteText writes the report for people: a line a probe, under its title.
func (r Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	r.writeTable(&b)
	r.writeSummary(&b)
	r.writeLogs(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func (r Report) writeTable(b *bytes.Buffer) {
	var paths, outcomes int // widths
	for _, p := range r.Results {
		paths = max(paths, utf8.RuneCountInString(p.path()))
		if p.OK { // a failure sticks out
			outcomes = max(outcomes, utf8.RuneCountInString(p.outcome()))
		}
	}
	for i, p := range r.Results {
		if i == 0 || r.Results[i-1].Title != p.Title {
			fmt.Fprintln(b, p.Title)
		}
		mark := "✓"
		if !p.OK {
			mark = "✗"
		}
		line := fmt.Sprintf("  %-*s  %-*s  %s %9s  %s", paths, p.path(), outcomes, p.outcome(), mark, span(p.Duration), p.Detail)
		fmt.Fprintln(b, strings.TrimRight(line, " "))
	}
}

func (r Report) writeSummary(b *bytes.Buffer) {
	if len(r.Results) == 0 {
		return
	}
	var devices []string
	for _, d := range r.Devices {
		devices = append(devices, fmt.Sprintf("%s at %s", d.Kind, d.Host))
	}
	fmt.Fprintf(b, "\nWireGuard: %s\n", strings.Join(devices, ", "))
	fmt.Fprintf(b, "from join to the first visitor answered: %.1f s\n", r.FirstAnswer.Seconds())
	if n := r.Failed(); n > 0 {
		fmt.Fprintf(b, "%d of %d probes failed\n", n, len(r.Results))
		return
	}
	fmt.Fprintf(b, "all %d probes held\n", len(r.Results))
}

func (r Report) writeLogs(b *bytes.Buffer) {
	for _, l := range r.Logs {
		fmt.Fprintf(b, "\nlast lines of the daemon of %s (in the lab: %s):\n", l.Host, l.File)
		for _, line := range l.Tail {
			fmt.Fprintf(b, "  %s\n", line)
		}
		if len(l.Tail) == 0 {
			fmt.Fprintf(b, "  (nothing)\n")
		}
	}
}

// path is who knocked where, and who should answer.
func (p Result) path() string {
	port := strconv.Itoa(int(p.Port)) + "/" + p.Protocol
	if p.Asker != "" {
		return fmt.Sprintf("%s asks for %s", p.Asker, port)
	}
	host := p.Host
	if host == "" {
		host = "nobody"
	}
	gate := p.Gate.String()
	if p.Gate.Is6() {
		gate = "[" + gate + "]"
	}
	return fmt.Sprintf("visitor %s → %s:%s → %s", p.Visitor, gate, port, host)
}

// outcome is what came of it; where it did not hold, also what was expected.
func (p Result) outcome() string {
	expected, got := "an answer of "+p.Host, "none"
	switch {
	case p.Asker != "":
		expected, got = "a refusal", "none"
	case p.Host == "":
		expected, got = "no answer", "one"
	case p.Want.IsValid():
		expected = fmt.Sprintf("%s to see %s", p.Host, p.Want)
	}
	if p.Saw.IsValid() {
		got = p.Saw.String()
	}
	switch {
	case !p.OK:
		return fmt.Sprintf("expected %s, got %s", expected, got)
	case p.Asker != "":
		return "refused"
	case p.Host == "":
		return "no answer"
	}
	return "service saw " + p.Saw.String()
}

// span says how long a probe took, so that an answer and what is no answer, a
// whole transfer or a wait in vain, are told apart.
func span(d time.Duration) string {
	if d >= 100*time.Millisecond {
		return fmt.Sprintf("%.1f s ", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
