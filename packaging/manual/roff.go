package main

import (
	"fmt"
	"regexp"
	"strings"
)

// page is one manual page, written in the macros of man(7).
type page struct {
	name    string // gatelodge-gate-init
	section int    // 1: a command, 5: a file
	text    strings.Builder
}

// newPage begins a page with its title line and its NAME section.
func newPage(name string, section int, s stamp, short string) *page {
	p := &page{name: name, section: section}
	fmt.Fprintf(&p.text, ".TH %s %d %s %q \"Gatelodge manual\"\n", roffWord(strings.ToUpper(name)), section, s.date, "gatelodge "+s.version)
	p.heading("NAME")
	p.line(roffWord(name) + ` \- ` + roff(short))
	return p
}

// stamp is what the foot of every page says.
type stamp struct{ date, version string }

// file is where the page belongs below a man folder.
func (p *page) file() string {
	return fmt.Sprintf("man%d/%s.%d", p.section, p.name, p.section)
}

func (p *page) heading(title string)    { p.line(".SH " + roff(strings.ToUpper(title))) }
func (p *page) subheading(title string) { p.line(".SS " + title) }

// line writes text that is roff already. A line must not begin with a control
// character unless it is a request.
func (p *page) line(text string) { p.text.WriteString(text + "\n") }

// paragraph writes text that is roff already.
func (p *page) paragraph(text string) {
	p.line(".PP")
	p.line(guard(text))
}

// item writes a tagged paragraph: what it is, and what there is to say.
func (p *page) item(tag, text string) {
	p.line(".TP")
	p.line(guard(tag))
	p.line(guard(text))
}

// verbatim writes plain text whose lines and columns must stay.
func (p *page) verbatim(text string) {
	p.line(".PP\n.nf")
	for line := range strings.Lines(text) {
		p.line(guard(roffWord(strings.TrimRight(line, "\n"))))
	}
	p.line(".fi")
}

// prose writes plain text: paragraphs, and blocks with columns of their own.
func (p *page) prose(text string) {
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if aligned(block) {
			p.verbatim(block)
		} else {
			p.paragraph(roff(strings.Join(strings.Fields(block), " ")))
		}
	}
}

// aligned reports whether a block has columns: two spaces in a row, or lines
// that are indented.
func aligned(block string) bool {
	return strings.Contains(strings.ReplaceAll(block, ".  ", ". "), "  ")
}

func bold(text string) string { return `\fB` + roffWord(text) + `\fR` }

func italic(text string) string { return `\fI` + roffWord(text) + `\fR` }

// option is a dash that begins an option, which must be copied as a minus.
var option = regexp.MustCompile(`(^|[\s\[(|])(--?)`)

// roff escapes prose: a hyphen stays a hyphen, the dash of an option does not.
func roff(text string) string {
	text = strings.ReplaceAll(text, `\`, `\e`)
	return option.ReplaceAllStringFunc(text, func(s string) string { return strings.ReplaceAll(s, "-", `\-`) })
}

// roffWord escapes what is typed as it stands: every dash is a minus.
func roffWord(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\e`), "-", `\-`)
}

// guard keeps text from being taken for a request.
func guard(text string) string {
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		return `\&` + text
	}
	return text
}
