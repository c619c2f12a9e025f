package edit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// readers are what reads the owner's file into what it means.
var readers = []string{"ParseHome", "ParseGate", "ReadHome", "ReadGate", "editedHome"}

// A command reads the owner's file once as it stands and once as it is to be, and
// hands on what it has read. So each of these functions reads it once, and nothing
// else that a command calls reads it at all.
func TestAFileIsReadTwiceByACommandAtMost(t *testing.T) {
	allowed := map[string]int{
		"edit.readHome": 1, "edit.AllowPorts": 1, "edit.Before": 1, // as it stands, or stood
		"config.AddForward": 1, "config.RemoveForward": 1, "config.SetHomePolicy": 1, // as it is to be
		"config.ReadHome": 1, "config.ReadGate": 1, "config.editedHome": 1, // all that these do
		"cli.checkFile": 2, // one for each role
		// Of gate init: what is about to be written.
		"onboard.GateFile": 1,
	}
	found := map[string]int{}
	for _, room := range []string{"cli", "cli/command", "cli/gateside", "cli/homeside", "edit", "onboard", "instance", "config"} {
		callsIn(t, room, readers, found)
	}
	for f, n := range found {
		if n > allowed[f] {
			t.Errorf("%s reads the owner's file %d times, not %d", f, n, allowed[f])
		}
	}
	for f := range allowed {
		if found[f] == 0 {
			t.Errorf("%s does not read the owner's file: the list here is old", f)
		}
	}
	// And the transactions of this package go that way once.
	steps := map[string]int{}
	callsIn(t, "edit", []string{"readHome", "AddForward", "RemoveForward", "SetHomePolicy", "publish"}, steps)
	for f, n := range map[string]int{"edit.Publish": 1, "edit.publish": 2, "edit.Unpublish": 2, "edit.AllowPorts": 1} {
		if steps[f] != n {
			t.Errorf("%s takes %d of these steps, not %d", f, steps[f], n)
		}
	}
}

// callsIn counts calls of functions of these names, by the function of the room
// in which they stand.
func callsIn(t *testing.T, room string, names []string, found map[string]int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", room, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", room, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && slices.Contains(names, called(call)) {
					found[room+"."+f.Name.Name]++
				}
				return true
			})
		}
	}
}

// called returns the last word of what a call names.
func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}
