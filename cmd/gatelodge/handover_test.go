package main

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asked is gatelodge, called by that name with those arguments, where PATH has
// nothing but the given folder.
func asked(t *testing.T, name, path string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), envProgram+"=1", "PATH="+path)
	return cmd
}

// labIn writes a program in place of gatelodge-lab.
func labIn(t *testing.T, dir, script string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, "gatelodge-lab"), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

func code(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

// What follows lab is the lab's own, flags too, and so are output and exit code.
// The lab is told which gatelodge asked for it.
func TestLabIsHandedOver(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	for name, from := range map[string]func(dir string) (program, path string){
		"in PATH": func(dir string) (string, string) { return self, dir },
		"beside a symbolic link": func(dir string) (string, string) {
			link := filepath.Join(dir, "gatelodge")
			must(t, os.Symlink(self, link))
			return link, t.TempDir()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			labIn(t, dir, `printf '%s|' "$GATELODGE_LAB_PROGRAM" "$@"; exit 7`)
			program, path := from(dir)
			out, err := asked(t, program, path, "lab", "--keep", "shell", "a host", "--", "--help").Output()
			if want := self + "|--keep|shell|a host|--|--help|"; string(out) != want || code(err) != 7 {
				t.Errorf("got %q, %v; want %q and exit code 7", out, err, want)
			}
		})
	}
}

func TestCtrlCReachesTheLab(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	dir := t.TempDir()
	labIn(t, dir, `trap 'exit 42' INT; echo ready; while :; do :; done`)
	cmd := asked(t, self, dir, "lab")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	must(t, err)
	must(t, cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); code(err) != 42 {
		t.Errorf("the lab ended with %v", err)
	}
}

func TestALabThatIsMissingIsSaid(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	broken := t.TempDir()
	must(t, os.WriteFile(filepath.Join(broken, "gatelodge-lab"), []byte("\x7fELF for another machine"), 0o755))
	for path, want := range map[string][]string{
		t.TempDir(): {"gatelodge: error: the lab is a program of its own, and it is missing: gatelodge-lab not found in " + filepath.Dir(self) + " or in PATH\n", "gatelodge: hint: install the package gatelodge-lab"},
		broken:      {"gatelodge: error: cannot run the lab: " + broken + "/gatelodge-lab: exec format error\n"},
	} {
		var said bytes.Buffer
		cmd := asked(t, self, path, "lab", "--help")
		cmd.Stderr = &said
		if err := cmd.Run(); code(err) != 1 {
			t.Errorf("ended with %v, want exit code 1", err)
		}
		for _, line := range want {
			if !strings.Contains(said.String(), line) {
				t.Errorf("said\n%s\nand not\n%s", &said, line)
			}
		}
	}
}
