package gatelodge_test

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// plainWords are the ones that a reader whose first language is another one
// would stumble over, each with the field's own word or a plainer one.
var plainWords = []struct {
	not *regexp.Regexp
	say string
}{
	{word(`tables? of connections`), "conntrack table"},
	{word(`(?:takes?|took|taken|taking) (?:\w+ ){0,3}back`), "revert, undo"},
	{word(`mend(?:s|ed|ing)?`), "fix"},
	{word(`(?:try|tries|tried|trying) on`), "keep trying"},
	{word(`publish(?:es)? no longer`), "no longer published, stop publishing"},
	{word(`also behind`), "even after"},
	{word(`by the tutorial`), "with the tutorial"},
	{word(`anew`), "again"},
	{word(`who(?:ever|mever)`), "anybody who, no matter who"},
	{word(`any more`), "no longer"},
	{word(`for want of`), "without"},
	{word(`puts? right`), "fix"},
	{word(`conversations?`), "connection, exchange"},
	{word(`aright|betimes|thereby|whereby|wherein`), "a plainer word"},
	{word(`puts? (?:\S+ ){0,3}back`), "restore"},
	{word(`(?:he|him|his|himself)`), "they, them, their"},
	{word(`beginnings? of (?:\w+ )?(?:connections?|handshakes?)`), "SYN, handshake initiation"},
	{regexp.MustCompile(`\b[A-Za-z]+\(s\)`), "1 forward, 2 forwards"},
	{word(`whitelist|blacklist`), "allow list, deny list"},
	{word(`real IP`), "source address preservation, the visitor's own address"},
}

func word(expression string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(?:` + expression + `)\b`)
}

// quoted are sentences that hold such a word because it is a name or somebody
// else's.
var quoted = []string{
	"modprobe.blacklist", "blacklist wireguard",
}

func TestPlainEnglishInDocuments(t *testing.T) {
	read := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "docs/img/*.svg", "examples/*.md", "examples/*/*", "packaging/*"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err != nil || info.IsDir() || strings.HasSuffix(name, ".go") {
				continue
			}
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			read++
			for i, line := range strings.Split(string(data), "\n") {
				plain(t, name+":"+strconv.Itoa(i+1), line)
			}
		}
	}
	if read < 40 {
		t.Fatalf("read only %d documents", read)
	}
}

// What a program prints, and what a reader of the code reads.
func TestPlainEnglishInCode(t *testing.T) {
	set, files := sources(t)
	read := 0
	for _, s := range files {
		for _, group := range s.file.Comments {
			plain(t, set.Position(group.Pos()).String(), strings.Join(strings.Fields(group.Text()), " "))
		}
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			read++
			plain(t, set.Position(literal.Pos()).String(), text)
			return true
		})
	}
	if read < 1000 {
		t.Fatalf("read only %d texts", read)
	}
}

// plain fails for each word in a text that has a plainer one.
func plain(t *testing.T, where, text string) {
	t.Helper()
	for _, q := range quoted {
		text = strings.ReplaceAll(text, q, "")
	}
	for _, w := range plainWords {
		if found := w.not.FindString(text); found != "" {
			t.Errorf("%s: %q: say %s", where, found, w.say)
		}
	}
}
