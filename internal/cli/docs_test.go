package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/cli/command"
)

// How the documents show command lines of ours: in blocks of code, after a
// prompt or not; in a sentence; and at the start of the rows of the table of
// commands.
var (
	inCode  = regexp.MustCompile("(?m)^(?:    (?:[a-z]+[#$] +)?|[a-z]+[#$] )(gatelodge [a-z].*)$")
	inText  = regexp.MustCompile("`((?:\\./)?gatelodge [a-z][^`\n]*)`")
	inTable = regexp.MustCompile("(?m)^\\| `([a-z][^`]*)`.* \\| (?:VPS|home|both|anywhere) \\|")
)

// documents are all that is written for people.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/tasks/*.md", "examples/*/*.md"} {
		names, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[strings.TrimPrefix(name, "../../")] = string(text)
		}
	}
	if len(texts) < 20 {
		t.Fatalf("found only %d documents", len(texts))
	}
	return texts
}

// Every command that the documents show exists, with all its flags; what
// stands in a block of code, to be typed, is a whole command line.
func TestDocumentsShowCommandsThatExist(t *testing.T) {
	texts := documents(t)
	var typed, named int
	for file, text := range texts {
		for _, m := range inCode.FindAllStringSubmatch(text, -1) {
			for _, words := range commandLines(m[1]) {
				typed++
				shownCommand(t, file, words, true)
			}
		}
		for _, m := range inText.FindAllStringSubmatch(text, -1) {
			for _, words := range commandLines(m[1]) {
				named++
				shownCommand(t, file, words, false)
			}
		}
	}
	table := inTable.FindAllStringSubmatch(texts["docs/commands.md"], -1)
	for _, m := range table {
		shownCommand(t, "docs/commands.md", strings.Fields(m[1]), false)
	}
	if typed < 50 || named < 80 || len(table) < 10 {
		t.Errorf("found only %d command lines, %d commands in sentences and %d in the table", typed, named, len(table))
	}
}

// commandLines are the gatelodge commands of one line, without its comment.
func commandLines(line string) [][]string {
	line, _, _ = strings.Cut(line, " #")
	var all [][]string
	for _, part := range regexp.MustCompile(`;|&&|\||2>`).Split(line, -1) {
		words := strings.Fields(part)
		if len(words) > 1 && strings.TrimPrefix(words[0], "./") == "gatelodge" {
			all = append(all, words[1:])
		}
	}
	return all
}

func shownCommand(t *testing.T, file string, words []string, whole bool) {
	t.Helper()
	root := tree(&command.App{})
	line := strings.Join(words, " ")
	c, rest, err := root.Find(words)
	if err != nil || c == root {
		t.Errorf("%s shows gatelodge %s, which does not exist: %v", file, line, err)
		return
	}
	if c.DisableFlagParsing {
		return // a program of its own
	}
	for _, w := range words {
		name, isFlag := strings.CutPrefix(strings.Trim(w, "[],"), "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && name != "" && name != "help" && c.Flags().Lookup(name) == nil && c.InheritedFlags().Lookup(name) == nil {
			t.Errorf("%s shows gatelodge %s, which has no flag --%s", file, line, name)
		}
	}
	if !whole {
		return
	}
	if err := c.ParseFlags(rest); err != nil {
		t.Errorf("%s shows gatelodge %s: %v", file, line, err)
	} else if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		t.Errorf("%s shows gatelodge %s: %v", file, line, err)
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
