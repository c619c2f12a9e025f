package main

import (
	"fmt"
	"html"
	"strings"
	"time"
	"unicode/utf8"
)

const prompt = "home# "

// line is what a terminal got, and when.
type line struct {
	at   time.Duration
	text string
}

// write makes a transcript: a line each, with its time in milliseconds.
func write(lines []line) string {
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&text, "%6d %s\n", l.at.Milliseconds(), l.text)
	}
	return text.String()
}

// parse reads what write has written.
func parse(transcript string) (lines []line, err error) {
	for text := range strings.Lines(transcript) {
		var at int64
		if _, err := fmt.Sscanf(text, "%d", &at); err != nil || len(text) < 8 {
			return nil, fmt.Errorf("%q is no line of a transcript", text)
		}
		lines = append(lines, line{time.Duration(at) * time.Millisecond, strings.TrimSuffix(text[7:], "\n")})
	}
	return lines, nil
}

// The measures of the picture, in pixels and characters.
const (
	columns   = 100
	advance   = 8.4 // width of a character
	lineSpace = 20
	top       = 58
	margin    = 20
	longest   = 1200 * time.Millisecond // of a pause, in the picture
	typing    = 700 * time.Millisecond  // before a command's answer
)

// row is one row of the terminal.
type row struct {
	at    time.Duration // in the picture
	text  string
	class string
}

// rows breaks lines at the terminal's width, and shortens long pauses.
func rows(lines []line) (all []row) {
	var now, before time.Duration
	for _, l := range lines {
		now += min(l.at-before, longest)
		before = l.at
		class := classOf(l.text)
		for _, part := range wrap(l.text) {
			all = append(all, row{now, part, class})
		}
		if class == "command" {
			now += typing
		}
	}
	return all
}

// classOf tells commands, steps and what has been proved from the rest.
func classOf(text string) string {
	var step, of int
	switch {
	case strings.HasPrefix(text, prompt):
		return "command"
	case strings.Contains(text, "the visitor's own address"), strings.Contains(text, "is published"):
		return "proof"
	}
	if _, err := fmt.Sscanf(text, "%d/%d ", &step, &of); err == nil {
		return "step"
	}
	return "said"
}

// wrap breaks a line at words, and indents what follows as it was.
func wrap(text string) []string {
	if utf8.RuneCountInString(text) <= columns {
		return []string{text}
	}
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))] + "    "
	cut := strings.LastIndex(string([]rune(text)[:columns]), " ")
	if cut <= len(indent) {
		cut = len(string([]rune(text)[:columns]))
	}
	return append([]string{text[:cut]}, wrap(indent+strings.TrimSpace(text[cut:]))...)
}

// style has rows come at their times; without animations all of them stand.
const style = `<style>
 text { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; font-size: 14px; white-space: pre; fill: #d0d7de }
 .frame { fill: #0d1117; stroke: #30363d }
 .title { fill: #8b949e; text-anchor: middle }
 .command { fill: #ffffff; font-weight: 600 }
 .step { fill: #58a6ff }
 .proof { fill: #3fb950 }
 .row { animation: come 1ms linear both }
 @keyframes come { from { visibility: hidden } to { visibility: visible } }
 @media (prefers-reduced-motion: reduce) { .row { animation: none } }
</style>
`

// draw makes the picture, which is dark in light surroundings, too, as
// terminals are.
func draw(lines []line) string {
	all := rows(lines)
	width, height := 2*margin+int(columns*advance), top+len(all)*lineSpace
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title">`+"\n", width, height, width, height)
	svg.WriteString(`<title id="title">A terminal: gatelodge init makes a VPS a gate and this machine its home, gatelodge expose publishes a port</title>` + "\n" + style)
	fmt.Fprintf(&svg, `<rect class="frame" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>`+"\n", width-1, height-1)
	for i, colour := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&svg, `<circle cx="%d" cy="20" r="6" fill="%s"/>`+"\n", 22+20*i, colour)
	}
	fmt.Fprintf(&svg, `<text class="title" x="%d" y="25">a real run in gatelodge lab, long pauses cut</text>`+"\n", width/2)
	for i, r := range all {
		fmt.Fprintf(&svg, `<text class="row %s" x="%d" y="%d" style="animation-delay:%dms" xml:space="preserve">%s</text>`+"\n",
			r.class, margin, top+i*lineSpace, r.at.Milliseconds(), html.EscapeString(r.text))
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}
