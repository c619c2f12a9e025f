package gatelodge_test

import (
	"fmt"
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

// The figures of the house. They are a mirror: what grows past one of them is
// cut in two, or stands below with the reason why it is better whole.
const (
	longestFunction = 70   // lines
	longestFile     = 400  // lines
	mostMethods     = 25   // of one type
	largestPackage  = 2000 // lines, without tests
	smallFunction   = 45   // lines; nine in ten functions are no longer
)

// largePackages may be larger.
var largePackages = map[string]string{
	"internal/config":        "two files read strictly, edited in place, each key with its errors",
	"internal/host/firewall": "two tables and the guard, each rule with the attack it is there for",
}

// source is one file of the module's own code.
type source struct {
	name  string
	room  string
	lines int
	test  bool
	file  *ast.File
}

func TestNoPackageIsTooLarge(t *testing.T) {
	lines := map[string]int{}
	_, files := sources(t)
	for _, s := range files {
		if !s.test {
			lines[s.room] += s.lines
		}
	}
	for room, n := range lines {
		_, allowed := largePackages[room]
		switch {
		case n > largestPackage && !allowed:
			t.Errorf("%s has %d lines, more than %d: cut it where two things meet", room, n, largestPackage)
		case n <= largestPackage && allowed:
			t.Errorf("%s has only %d lines: it no longer needs an exception", room, n)
		}
	}
}

// longFiles may be longer.
var longFiles = map[string]string{
	"vmtest/suite_test.go": "the rows of the machine suite, in the order in which they run",
}

func TestNoFileIsTooLong(t *testing.T) {
	_, files := sources(t)
	for _, s := range files {
		_, allowed := longFiles[s.name]
		switch {
		case s.lines > longestFile && !allowed:
			t.Errorf("%s has %d lines, more than %d", s.name, s.lines, longestFile)
		case s.lines <= longestFile && allowed:
			t.Errorf("%s has only %d lines: it no longer needs an exception", s.name, s.lines)
		}
	}
}

func TestNoFunctionIsTooLong(t *testing.T) {
	set, files := sources(t)
	var all, small int
	for _, s := range files {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil || s.test {
				continue
			}
			n := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1
			all++
			if n <= smallFunction {
				small++
			}
			if n > longestFunction {
				t.Errorf("%s: %s has %d lines, more than %d", set.Position(f.Pos()), f.Name.Name, n, longestFunction)
			}
		}
	}
	if all == 0 || small*10 < all*9 {
		t.Errorf("only %d of %d functions have at most %d lines", small, all, smallFunction)
	}
}

// wideTypes may have more methods.
var wideTypes = map[string]string{
	"internal/lab.Host": "what a person could do at a host of the lab, one method each, for tests to read as a story",
	"internal/lab.Lab":  "its hosts, by name, and what happens to all of them",
}

func TestNoTypeHasTooManyMethods(t *testing.T) {
	methods := map[string]int{}
	_, files := sources(t)
	for _, s := range files {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && !s.test {
				methods[s.room+"."+receiver(f.Recv.List[0].Type)]++
			}
		}
	}
	if len(methods) == 0 {
		t.Fatal("found no methods")
	}
	for name, n := range methods {
		_, allowed := wideTypes[name]
		switch {
		case n > mostMethods && !allowed:
			t.Errorf("%s has %d methods, more than %d", name, n, mostMethods)
		case n <= mostMethods && allowed:
			t.Errorf("%s has only %d methods: it needs no exception any longer", name, n)
		}
	}
}

// The seam to the machine is made of narrow ones.
func TestTheSeamToTheMachineIsNarrow(t *testing.T) {
	const most = 5 // methods of one group
	_, files := sources(t)
	groups := 0
	for _, s := range files {
		if s.name != "internal/host/machine.go" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok {
				groups++
				if len(i.Methods.List) > most {
					t.Errorf("a group of host.Machine has %d methods, more than %d", len(i.Methods.List), most)
				}
			}
			return true
		})
	}
	if groups < 3 {
		t.Fatalf("found %d groups", groups)
	}
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return fmt.Sprintf("%T", e)
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	set, files := sources(t)
	documented := 0
	for _, s := range files {
		if s.test || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			for _, n := range undocumented(d) {
				t.Errorf("%s: %s has no doc comment", set.Position(n.Pos()), n.Name)
			}
		}
		documented++
	}
	if documented == 0 {
		t.Fatal("found no files")
	}
}

// undocumented returns the exported names of a declaration that nobody
// describes. A group may be described as one.
func undocumented(d ast.Decl) []*ast.Ident {
	var names []*ast.Ident
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && !wellKnown(d) {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Doc == nil && s.Comment == nil && d.Doc == nil && s.Name.IsExported() {
					names = append(names, s.Name)
				}
			case *ast.ValueSpec:
				if s.Doc == nil && s.Comment == nil && d.Doc == nil && s.Names[0].IsExported() {
					names = append(names, s.Names[0])
				}
			}
		}
	}
	return names
}

// wellKnown reports whether everybody knows what a method does, or nobody can
// call it by its type.
func wellKnown(f *ast.FuncDecl) bool {
	return f.Recv != nil && (slices.Contains([]string{"Error", "String", "Unwrap"}, f.Name.Name) || !ast.IsExported(receiver(f.Recv.List[0].Type)))
}

// wishfulNames say nothing about what lives in a package.
var wishfulNames = []string{"util", "utils", "common", "lib", "shared", "helpers", "types"}

func TestNoPackageIsADrawer(t *testing.T) {
	_, files := sources(t)
	for _, s := range files {
		if slices.Contains(wishfulNames, path.Base(s.room)) {
			t.Errorf("%s: what is it about?", s.room)
		}
	}
}

// sources parses all Go files of the module.
func sources(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	set := token.NewFileSet()
	var files []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") {
			return err
		}
		parsed, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, source{
			name: name, room: path.Dir(filepath.ToSlash(name)), file: parsed,
			lines: set.File(parsed.Pos()).LineCount(), test: strings.HasSuffix(name, "_test.go"),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("found only %d files", len(files))
	}
	return set, files
}
