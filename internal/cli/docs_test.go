package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/cli/command"
)

// How the documents show command lines of ours: in blocks of code, after a
// prompt or not, and at the start of the rows of the table of commands.
var (
	inCode  = regexp.MustCompile("(?m)^    (?:vps#   |home#  )?gatelodge ([a-z][^#;\n]*)")
	inTable = regexp.MustCompile("(?m)^\\| `([a-z][^`]*)`.* \\| (?:VPS|home|both|anywhere) \\|")
)

// Every command that the documents show exists, with all its flags.
func TestDocumentsShowCommandsThatExist(t *testing.T) {
	for _, d := range []struct {
		file  string
		shown *regexp.Regexp
		least int
	}{{"../../README.md", inCode, 12}, {"../../docs/commands.md", inTable, 10}} {
		text, err := os.ReadFile(d.file)
		if err != nil {
			t.Fatal(err)
		}
		all := d.shown.FindAllStringSubmatch(string(text), -1)
		if len(all) < d.least {
			t.Errorf("%s shows only %d commands", d.file, len(all))
		}
		for _, m := range all {
			shownCommand(t, d.file, strings.Fields(m[1]))
		}
	}
}

func shownCommand(t *testing.T, file string, words []string) {
	t.Helper()
	root := tree(&command.App{})
	c, _, err := root.Find(words)
	if err != nil || c == root {
		t.Errorf("%s shows gatelodge %s, which does not exist: %v", file, strings.Join(words, " "), err)
		return
	}
	for _, w := range words {
		name, isFlag := strings.CutPrefix(strings.Trim(w, "[],"), "--")
		if isFlag && c.Flags().Lookup(name) == nil {
			t.Errorf("%s shows gatelodge %s, which has no flag --%s", file, strings.Join(words, " "), name)
		}
	}
}

// Every command says what it is for, and takes --help.
func TestEveryCommandIsDescribed(t *testing.T) {
	var count int
	for _, c := range tree(&command.App{}).Commands() {
		for _, d := range append(c.Commands(), c) {
			count++
			if d.Short == "" || strings.HasSuffix(d.Short, ".") {
				t.Errorf("%s: a line without a full stop should describe it, not %q", d.CommandPath(), d.Short)
			}
		}
	}
	if count < 15 {
		t.Errorf("only %d commands", count)
	}
}
