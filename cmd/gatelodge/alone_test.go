package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCommandsThatEditTheFileTakeTurns(t *testing.T) {
	l := newJoinedLab(t)
	var wait sync.WaitGroup
	for n := range 5 {
		wait.Go(func() {
			if err := l.Home().Expose(t.Context(), fmt.Sprint(7010+n), "--name", fmt.Sprintf("side-%d", n)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	text := readFile(t, filepath.Join(l.Home().Root(), "etc/gatelodge/home.toml"))
	for n := range 5 {
		contains(t, text, fmt.Sprintf("[forward.side-%d]", n))
	}

	folder, err := os.Open(filepath.Join(l.Home().Root(), "var/lib/gatelodge"))
	must(t, err)
	defer folder.Close()
	must(t, unix.Flock(int(folder.Fd()), unix.LOCK_EX))
	said := refuses(t, l.Home(), 1, "apply")
	contains(t, said, "another command is changing this machine", fmt.Sprintf("(process %d)", os.Getpid()))
	if strings.Contains(said, "another gatelodge command") {
		t.Errorf("it does not name who:\n%s", said)
	}
}
