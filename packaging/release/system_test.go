package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What making a user leaves, and what called reads: not looked at when something
// is said to be as before.
var accounts = []string{"etc/.pwd.lock", "etc/group-", "etc/gshadow", "etc/passwd-", "etc/shadow", "calls"}

// system is the tree of a system, in which packages and their scripts are
// tried. What the scripts call is replaced by scripts that write it down.
type system struct {
	t    *testing.T
	root string
}

// newSystem makes a tree with nothing in it but root's account.
func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{t, t.TempDir()}
	for _, folder := range []string{"dev", "run", "tmp", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin"} {
		s.must(os.MkdirAll(s.path(folder), 0o755))
	}
	for _, merged := range []string{"bin", "lib", "lib64", "sbin"} {
		s.must(os.Symlink("usr/"+merged, s.path(merged)))
	}
	s.write("dev/null", "", 0o644)
	s.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)
	s.write("etc/group", "root:x:0:\n", 0o644)
	return s
}

// caller is a program that only writes down how it was called.
func caller(name string) string { return "#!/bin/sh\necho \"" + name + " $*\" >>/calls\n" }

func (s *system) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) path(name string) string { return filepath.Join(s.root, name) }

func (s *system) write(name, text string, mode fs.FileMode) {
	s.t.Helper()
	s.must(os.MkdirAll(filepath.Dir(s.path(name)), 0o755))
	s.must(os.WriteFile(s.path(name), []byte(text), mode))
	s.must(os.Chmod(s.path(name), mode))
}

func (s *system) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.path(name))
	s.must(err)
	return string(text)
}

// bring copies a program of this machine into the tree, with its libraries.
func (s *system) bring(program string) {
	s.t.Helper()
	file, err := exec.LookPath(program)
	s.must(err)
	s.copy(file, "/usr/bin/"+program)
	binary, err := elf.Open(file)
	s.must(err)
	defer binary.Close()
	if libraries, err := binary.ImportedLibraries(); err == nil && len(libraries) == 0 {
		return
	}
	out, err := exec.Command("ldd", file).Output()
	s.must(err)
	for _, word := range strings.Fields(string(out)) {
		if filepath.IsAbs(word) {
			s.copy(word, word)
		}
	}
}

func (s *system) copy(from, to string) {
	s.t.Helper()
	content, err := os.ReadFile(from)
	s.must(err)
	s.write(to, string(content), 0o755)
}

// called checks what the scripts have called since the last time.
func (s *system) called(want ...string) {
	s.t.Helper()
	text, err := os.ReadFile(s.path("calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"); !slices.Equal(got, append([]string{}, want...)) && (len(want) > 0 || len(text) > 0) {
		s.t.Errorf("the scripts called\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s.must(os.RemoveAll(s.path("calls")))
}

// tree lists every file with its mode, but rpm's and those that hold accounts.
func (s *system) tree() map[string]fs.FileMode {
	s.t.Helper()
	found := map[string]fs.FileMode{}
	s.must(filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, s.root+"/")
		if err != nil || slices.Contains(accounts, name) {
			return err
		}
		if name == "var/lib/rpm" {
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err == nil {
			found[name] = info.Mode()
		}
		return err
	}))
	return found
}

// leaves checks what there is more than before, and that nothing is less.
func (s *system) leaves(before map[string]fs.FileMode, want ...string) {
	s.t.Helper()
	after := s.tree()
	var more []string
	for name, mode := range after {
		if _, ok := before[name]; !ok {
			more = append(more, fmt.Sprintf("%s %v", name, mode))
		}
	}
	slices.Sort(more)
	if !slices.Equal(more, want) {
		s.t.Errorf("left behind\n%s\nwant\n%s", strings.Join(more, "\n"), strings.Join(want, "\n"))
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			s.t.Errorf("%s is gone", name)
		}
	}
}

// apart runs a program of this machine in namespaces of its own: the tree needs
// a /dev/null, and nothing must reach this machine.
func (s *system) apart(command ...string) (string, error) {
	unshare := []string{"--mount", "--net"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--map-root-user")
	}
	const story = `mount --bind /dev/null "$1/dev/null" && shift && exec "$@"`
	out, err := exec.Command("unshare", append(append(unshare, "sh", "-c", story, "sh", s.root), command...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
