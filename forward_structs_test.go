package gatelodge_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A forward is written down again only where its form changes: as the owner edits
// it, as it stands in the file, as home and gate know it, as it travels, and as
// people see it. A new property goes into these and into no more; the allow list
// is the property by which they are found. The others hold a whole one of them.
func TestAForwardHasFewForms(t *testing.T) {
	want := []string{
		"internal/config.NewForward", "internal/config.draft", "internal/control.Forward",
		"internal/forward.Forward", "internal/forward.Published", "internal/status.Forward",
	}
	if got := structsWith(t, "Allow"); !slices.Equal(got, want) || len(got) > 6 {
		t.Errorf("forms of a forward: %v, want %v", got, want)
	}
}

// structsWith returns the structs of the product with a field of that name, in
// whichever case it begins.
func structsWith(t *testing.T, field string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir("internal", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && hasField(s.Type, field) {
				found = append(found, path.Dir(filepath.ToSlash(file))+"."+s.Name.Name)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func hasField(e ast.Expr, name string) bool {
	s, ok := e.(*ast.StructType)
	if !ok {
		return false
	}
	return slices.ContainsFunc(s.Fields.List, func(f *ast.Field) bool {
		return slices.ContainsFunc(f.Names, func(n *ast.Ident) bool { return strings.EqualFold(n.Name, name) })
	})
}
