package main

import (
	"fmt"
	"regexp"
	"strings"
)

// document is one of the project's Markdown documents, by its sections; the
// text before the first heading is the section "".
type document map[string]string

// parseDocument splits Markdown at its second-level headings.
func parseDocument(text string) document {
	d := document{}
	title := ""
	for line := range strings.Lines(text) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			title = strings.TrimSpace(heading)
			continue
		}
		if !strings.HasPrefix(line, "# ") {
			d[title] += line
		}
	}
	return d
}

// filePage writes the page of a configuration file from the document that
// describes it.
func filePage(d document, name, short string, s stamp) (*page, error) {
	if d[name] == "" {
		return nil, fmt.Errorf("the document has no section %q", name)
	}
	p := newPage(name, 5, s, short)
	p.heading("description")
	p.markdown(d[""])
	p.heading("tables and keys")
	p.markdown(d[name])
	p.heading("marks")
	p.markdown(d["Marks"])
	p.heading("files")
	p.line(italic("/etc/gatelodge/" + name))
	p.line(".br")
	p.line(italic("/usr/share/doc/gatelodge/examples"))
	p.finish([]string{"gatelodge(1)", "gatelodge-check(1)", "gatelodge-apply(1)"})
	return p, nil
}

// markdown writes the little of Markdown that our documents use: paragraphs
// and tables.
func (p *page) markdown(text string) {
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(block, "|") {
			p.table(block)
		} else if block != "" {
			p.paragraph(inline(strings.Join(strings.Fields(block), " ")))
		}
	}
}

// table writes each row as an item. With four columns (table, key, default,
// meaning) the first makes a heading.
func (p *page) table(block string) {
	rows := strings.Split(block, "\n")
	for _, row := range rows[2:] { // below the header and its rule
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if strings.HasPrefix(row, "| |") {
			cells = append([]string{""}, strings.Split(strings.Trim(strings.TrimPrefix(row, "| |"), "| "), " | ")...)
		}
		p.row(cells)
	}
}

func (p *page) row(cells []string) {
	for i := range cells {
		cells[i] = strings.Trim(cells[i], "| ")
	}
	if len(cells) == 2 {
		p.item(inline(cells[0]), inline(cells[1]))
		return
	}
	if cells[0] == "–" {
		p.subheading("At the top")
	} else if cells[0] != "" {
		p.subheading(inline(cells[0]))
	}
	if len(cells) < 4 || cells[3] == "" {
		p.item(inline(cells[1]), inline(strings.Join(cells[2:], " ")))
		return
	}
	p.item(inline(cells[1]), inline(cells[3])+byDefault(cells[2]))
}

func byDefault(value string) string {
	switch value {
	case "":
		return ""
	case "required":
		return " (required)"
	}
	return " (default: " + inline(value) + ")"
}

var (
	code = regexp.MustCompile("`[^`]+`")
	link = regexp.MustCompile(`\[([^\]]+)\]\([^)]+\)`)
)

// inline turns code into bold, and a link into its text.
func inline(text string) string {
	var b strings.Builder
	for text != "" {
		at := code.FindStringIndex(text)
		if at == nil {
			at = []int{len(text), len(text)}
		}
		b.WriteString(roff(link.ReplaceAllString(text[:at[0]], "$1")))
		if at[1] > at[0] {
			b.WriteString(bold(text[at[0]+1 : at[1]-1]))
		}
		text = text[at[1]:]
	}
	return b.String()
}
