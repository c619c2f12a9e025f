package sibling

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program makes a file that can be run, or not.
func program(t *testing.T, dir string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(dir, "gatelodge-lab")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFind(t *testing.T) {
	empty := t.TempDir()
	for name, c := range map[string]struct {
		beside, linked, path os.FileMode // of the program there; 0: there is none
		want                 string
	}{
		"beside the program":            {beside: 0o755, linked: 0o755, path: 0o755, want: "beside"},
		"beside the link to it":         {linked: 0o755, path: 0o755, want: "linked"},
		"in PATH":                       {path: 0o755, want: "path"},
		"what cannot be run is no good": {beside: 0o644, path: 0o755, want: "path"},
	} {
		t.Run(name, func(t *testing.T) {
			dirs := map[string]string{"beside": t.TempDir(), "linked": t.TempDir(), "path": t.TempDir()}
			for dir, mode := range map[string]os.FileMode{"beside": c.beside, "linked": c.linked, "path": c.path} {
				if mode != 0 {
					program(t, dirs[dir], mode)
				}
			}
			t.Setenv("PATH", empty+":"+dirs["path"])
			beside := folders(filepath.Join(dirs["beside"], "gatelodge"), filepath.Join(dirs["linked"], "gatelodge"))
			got, err := find("gatelodge-lab", beside)
			if want := filepath.Join(dirs[c.want], "gatelodge-lab"); err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
}

// sudo has a PATH of its own, and calls the program by the name that it found.
func TestFindNeedsNoPath(t *testing.T) {
	dir := t.TempDir()
	want := program(t, dir, 0o755)
	t.Setenv("PATH", "")
	if got, err := find("gatelodge-lab", folders(filepath.Join(dir, "gatelodge"), "gatelodge")); err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestFindSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", t.TempDir())
	_, err := find("gatelodge-lab", []string{dir})
	if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), dir) {
		t.Errorf("where there is none: %v", err)
	}
	file := program(t, dir, 0o644)
	if _, err := find("gatelodge-lab", []string{dir}); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), file) {
		t.Errorf("one that cannot be run: %v", err)
	}
}
