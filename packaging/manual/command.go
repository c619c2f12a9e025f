package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandPages returns a page for the command and each one below it that has no
// program of its own.
func commandPages(c *cobra.Command, s stamp) []*page {
	pages := []*page{commandPage(c, s)}
	for _, sub := range visible(c) {
		if !handedOver(sub) {
			pages = append(pages, commandPages(sub, s)...)
		}
	}
	return pages
}

// handedOver reports whether a command is a program of its own, which describes
// itself: it leaves all flags to that.
func handedOver(c *cobra.Command) bool { return c.DisableFlagParsing }

func commandPage(c *cobra.Command, s stamp) *page {
	p := newPage(pageName(c), 1, s, lowerFirst(c.Short))
	p.heading("synopsis")
	p.line(strings.Join(synopsis(c), "\n.br\n"))
	p.heading("description")
	if c.Long != "" {
		p.prose(c.Long)
	} else {
		p.prose(c.Short + ".")
	}
	p.commands(c)
	p.options("options", c.NonInheritedFlags())
	p.options("options of every command", c.InheritedFlags())
	if c.Example != "" {
		p.heading("examples")
		p.verbatim(c.Example)
	}
	return p
}

// finish ends a page with the pages to read next.
func (p *page) finish(seeAlso []string) {
	p.heading("see also")
	var references []string
	for _, name := range seeAlso {
		page, section, _ := strings.Cut(name, "(")
		references = append(references, bold(page)+"("+section)
	}
	p.line(guard(strings.Join(references, ",\n")))
}

// seeAlso names the parent of a command, what is below it, and the files.
func seeAlso(c *cobra.Command) []string {
	var names []string
	switch {
	case c.HasParent():
		names = append(names, pageName(c.Parent())+"(1)")
	case c.Name() != "gatelodge":
		names = append(names, "gatelodge(1)")
	}
	for _, sub := range visible(c) {
		names = append(names, pageName(sub)+"(1)")
	}
	return append(names, "gate.toml(5)", "home.toml(5)")
}

func (p *page) commands(c *cobra.Command) {
	below := visible(c)
	if len(below) == 0 {
		return
	}
	p.heading("commands")
	for _, sub := range below {
		p.item(bold(sub.CommandPath()), roff(sub.Short)+".")
	}
}

func (p *page) options(title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	p.heading(title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		tag := bold("--" + f.Name)
		if f.Shorthand != "" {
			tag = bold("-"+f.Shorthand) + ", " + tag
		}
		if kind != "" {
			tag += " " + italic(kind)
		}
		p.item(tag, roff(usage)+defaultOf(f))
	})
}

func defaultOf(f *pflag.Flag) string {
	if slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
		return ""
	}
	return fmt.Sprintf(" (default %s)", bold(f.DefValue))
}

// synopsis returns the ways of writing a command: those of what is below it,
// where it does nothing by itself.
func synopsis(c *cobra.Command) []string {
	below := visible(c)
	if len(below) == 0 {
		line := bold(c.CommandPath())
		if arguments := strings.TrimSpace(strings.TrimPrefix(c.UseLine(), c.CommandPath())); arguments != "" {
			line += " " + italic(arguments)
		}
		return []string{line}
	}
	var lines []string
	for _, sub := range below {
		lines = append(lines, synopsis(sub)...)
	}
	return lines
}

// visible returns the commands below c that are there for the owner.
func visible(c *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(c.Commands()), func(sub *cobra.Command) bool {
		return !sub.IsAvailableCommand()
	})
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// lowerFirst makes a sentence the end of a NAME line; names in capitals stay.
func lowerFirst(s string) string {
	letters := []rune(s)
	if len(letters) > 1 && unicode.IsLower(letters[1]) {
		letters[0] = unicode.ToLower(letters[0])
	}
	return string(letters)
}
