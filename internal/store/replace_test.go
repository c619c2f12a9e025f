package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "gate.toml"), filepath.Join(dir, "link.toml")
	replace := func(path, content string, mode os.FileMode) {
		t.Helper()
		if err := ReplaceFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != content {
			t.Errorf("content %q, %v, want %q", got, err, content)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != mode {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, mode)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	replace(file, "first", 0o600)
	if err := os.Chmod(file, 0o640); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	replace(file, "second", 0o640)
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	replace(link, "third", 0o640)
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link has become %v, %v", info.Mode(), err)
	}
	wantNoLitter(t, dir, 2)
}

func TestReplaceFileRefused(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "gate.toml")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{folder, filepath.Join(dir, "none.toml"), filepath.Join(dir, "none", "gate.toml")} {
		if err := ReplaceFile(path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("ReplaceFile(%s) = %v", path, err)
		}
	}
	wantNoLitter(t, dir, 1)
}

func wantNoLitter(t *testing.T, dir string, files int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != files {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}
