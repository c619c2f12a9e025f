package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func pages(t *testing.T) map[string]string {
	t.Helper()
	all, err := manual("../../docs", stamp{date: "2026-11-23", version: "0.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, p := range all {
		found[p.file()] = p.text.String()
	}
	return found
}

func TestEveryCommandHasAPage(t *testing.T) {
	found, commands := pages(t), 0
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		commands++
		file := "man1/" + pageName(c) + ".1"
		text := found[file]
		for _, section := range []string{".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH EXIT STATUS\n", ".SH SEE ALSO\n"} {
			if !strings.Contains(text, section) {
				t.Errorf("%s has no %q", file, section)
			}
		}
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && !strings.Contains(text, bold("--"+f.Name)) {
				t.Errorf("%s does not know --%s", file, f.Name)
			}
		})
		for _, sub := range visible(c) {
			if !handedOver(sub) {
				look(sub)
			}
		}
	}
	for _, root := range programs() {
		look(root)
	}
	if commands < 19 || len(found) != commands+2 {
		t.Errorf("%d pages of %d commands and two files", len(found), commands)
	}
}

// A command that does nothing by itself shows how those below it are written.
func TestSynopsisShowsWhatIsBelow(t *testing.T) {
	found := pages(t)
	for file, want := range map[string][]string{
		"man1/gatelodge.1":        {`\fBgatelodge init\fR \fI`, `\fBgatelodge gate invite\fR \fI`, `\fBgatelodge expose\fR \fI`},
		"man1/gatelodge-gate.1":   {`\fBgatelodge gate init\fR \fI`, `\fBgatelodge gate homes\fR`},
		"man1/gatelodge-expose.1": {`\fBgatelodge expose\fR \fI`},
	} {
		_, after, _ := strings.Cut(found[file], ".SH SYNOPSIS\n")
		text, _, _ := strings.Cut(after, ".SH ")
		for _, line := range want {
			if !strings.Contains(text, line) {
				t.Errorf("%s: the synopsis has no %q:\n%s", file, line, text)
			}
		}
	}
}

func TestFilesHavePagesWithTheirKeys(t *testing.T) {
	found := pages(t)
	for file, keys := range map[string][]string{
		"man5/gate.toml.5": {"listen_port", "prefix6", "ssh_ports", "max_forwards", "[home.NAME]", "mask = \"0xf0000000\""},
		"man5/home.toml.5": {"rule_priority", "private_sources", "[forward.NAME]", "masquerade", "new_connections"},
	} {
		for _, key := range keys {
			if !strings.Contains(found[file], key) {
				t.Errorf("%s does not know %s", file, key)
			}
		}
		if strings.Contains(found[file], "`") || strings.Contains(found[file], " | ") {
			t.Errorf("%s has Markdown in it:\n%s", file, found[file])
		}
	}
}

func TestCompletions(t *testing.T) {
	for _, root := range programs() {
		files, err := completions(root)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 3 {
			t.Errorf("%s: %d shells", root.Name(), len(files))
		}
		for name, text := range files {
			if !strings.Contains(name, root.Name()) || !strings.Contains(string(text), root.Name()) {
				t.Errorf("%s is empty", name)
			}
		}
	}
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		"a one-time invite, see --help": `a one-time invite, see \-\-help`,
		`back\slash`:                    `back\eslash`,
		"join -":                        `join \-`,
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := inline("see `a-b` in [docs](x/y.md) and `.last`"); got != `see \fBa\-b\fR in docs and \fB.last\fR` {
		t.Errorf("got %q", got)
	}
	if guard(".last") != `\&.last` || guard("'tis") != `\&'tis` || guard("text") != "text" {
		t.Error("a line of text is taken for a request")
	}
}
