package remote

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestBring(t *testing.T) {
	c, _ := play(t, "")
	if err := c.Rise(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	program := []byte("#!/bin/sh\n[ \"$1\" != --version ] || { echo gatelodge version 1.2; exit; }\n[ \"$1 $3\" = '--root install' ] && cp \"$0\" \"$2/usr/local/bin/gatelodge\"\n")
	for version, want := range map[string]string{"": "", "1.2": "", "1.3": "what was copied is gatelodge version 1.2, not gatelodge version 1.3"} {
		root := t.TempDir()
		folder := filepath.Join(root, "usr/local/bin")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		err := c.Bring(t.Context(), program, version, root)
		entries, readErr := os.ReadDir(folder)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if want != "" {
			if err == nil || err.Error() != want || len(entries) != 0 {
				t.Errorf("%q is wanted: %v, left behind: %v", version, err, entries)
			}
			continue
		}
		if err != nil || len(entries) != 1 {
			t.Fatalf("%q is wanted: %v, left behind: %v", version, err, entries)
		}
		if got := read(t, filepath.Join(folder, "gatelodge")); got != string(program) {
			t.Errorf("what was installed is %q", got)
		}
	}
}

func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Program(runtime.GOARCH, "", self, nil); err != nil {
		t.Errorf("this very program: %v", err)
	}
	if _, err := Program("riscv64", self, self, nil); err == nil || !strings.Contains(err.Error(), "not for riscv64") {
		t.Errorf("for another processor: %v", err)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Program("amd64", script, self, nil); err == nil || !strings.Contains(err.Error(), "not a program for Linux") {
		t.Errorf("a script: %v", err)
	}
}

// What lies beside the program is root's or the user's, or it is not sent. What
// the owner names is the owner's choice.
func TestOnlyOnesOwnProgramIsSent(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode, folderMode os.FileMode
		refused          bool
	}{
		{0o755, 0o755, false}, {0o700, 0o700, false}, {0o755, 0o777 | os.ModeSticky, false},
		{0o757, 0o755, true}, {0o755, 0o777, true}, {0o757, 0o700 | os.ModeSticky, true},
	} {
		folder := filepath.Join(t.TempDir(), "folder")
		beside := filepath.Join(folder, FileName(runtime.GOARCH))
		for _, err := range []error{os.Mkdir(folder, 0o700), os.WriteFile(beside, self, 0o600), os.Chmod(beside, c.mode), os.Chmod(folder, c.folderMode)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		data, err := Program(runtime.GOARCH, "", filepath.Join(folder, "gatelodge"), nil)
		if !c.refused && (err != nil || len(data) != len(self)) || c.refused && (err == nil || !strings.Contains(err.Error(), "may be changed by other users")) {
			t.Errorf("%+v: %v", c, err)
		}
		if _, err := Program(runtime.GOARCH, beside, "/usr/bin/gatelodge", nil); err != nil {
			t.Errorf("%+v, named: %v", c, err)
		}
	}
}

func TestWhoMayChangeAFile(t *testing.T) {
	const alice, mallory, staff = 1001, 1002, 50
	for name, c := range map[string]struct {
		mode         os.FileMode
		owner, group uint32
		refused      string
	}{
		"root's":                  {0o755, 0, 0, ""},
		"root's, of its group":    {0o775, 0, 0, ""},
		"the user's":              {0o700, alice, staff, ""},
		"of the user's own group": {0o775, alice, alice, ""},
		"a folder like /tmp":      {os.ModeDir | os.ModeSticky | 0o777, 0, 0, ""},
		"of a group":              {0o775, alice, staff, "may be changed"},
		"of everybody":            {0o757, 0, 0, "may be changed"},
		"a folder of everybody":   {os.ModeDir | 0o777, 0, 0, "may be changed"},
		"sticky, and no folder":   {os.ModeSticky | 0o777, 0, 0, "may be changed"},
		"another user's":          {0o700, mallory, mallory, "belongs to user 1002"},
		"another user's folder":   {os.ModeDir | os.ModeSticky | 0o777, mallory, 0, "belongs to user 1002"},
	} {
		if got := othersMay(c.mode, c.owner, c.group, alice); (got == "") != (c.refused == "") || !strings.Contains(got, c.refused) {
			t.Errorf("%s: %q, not %q", name, got, c.refused)
		}
	}
}
