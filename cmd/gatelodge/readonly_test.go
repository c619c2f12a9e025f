package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// lookers are the commands that only look.
var lookers = [][]string{{"status"}, {"plan"}, {"doctor"}, {"check"}, {"gate", "homes"}}

// Commands that look change nothing: no file of the instance, nothing of the
// machine. That holds while the daemon runs, after it was killed, and before the
// very first start.
func TestWhatLooksChangesNothing(t *testing.T) {
	l := newJoinedLab(t)
	for _, h := range []*lab.Host{l.Gate(), l.Home()} {
		written(t, h)
		changesNothing(t, h, "the daemon runs")
		must(t, h.Kill())
		settled(t, h)
		changesNothing(t, h, "the daemon was killed")
		_, err := h.Gatelodge(t.Context(), "down")
		must(t, err)
		for _, folder := range []string{"var/lib/gatelodge", "run/gatelodge"} {
			must(t, os.RemoveAll(filepath.Join(h.Root(), folder)))
		}
		changesNothing(t, h, "nothing has run yet")
	}
}

func changesNothing(t *testing.T, h *lab.Host, when string) {
	t.Helper()
	for _, args := range lookers {
		if h.Name == "home" && args[0] == "gate" {
			continue
		}
		machine, files := uncounted(snapshot(t, h)), tree(t, h.Root())
		// Whether a command succeeds is for other tests: some have to refuse.
		out, _ := h.Gatelodge(t.Context(), args...)
		what := fmt.Sprintf("%s on the %s, %s", args[0], h.Name, when)
		compare(t, what, machine, uncounted(snapshot(t, h)))
		compare(t, what, files, tree(t, h.Root()))
		if t.Failed() {
			t.Fatalf("%s said:\n%s", what, out)
		}
	}
}

// written waits until the daemon has written down what it found after its start, such
// as an sshd that came later: two of its rounds change no file.
func written(t *testing.T, h *lab.Host) {
	t.Helper()
	eventually(t, "the daemon has written down what it found", func(context.Context) error {
		before := tree(t, h.Root())
		time.Sleep(5 * time.Second)
		if !slices.Equal(before, tree(t, h.Root())) {
			return errors.New("it still writes")
		}
		return nil
	})
}

// settled waits until the kernel has done what follows from a daemon's end: its
// interface loses the carrier, the guard goes.
func settled(t *testing.T, h *lab.Host) {
	t.Helper()
	eventually(t, "the kernel has followed", func(context.Context) error {
		before := snapshot(t, h)
		time.Sleep(300 * time.Millisecond)
		if after := snapshot(t, h); !slices.Equal(before, after) {
			return errors.New("it still changes")
		}
		return nil
	})
}

// uncounted leaves out the visitors that are counted: those of the doctor are.
func uncounted(lines []string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, " ct count over ") })
}

// tree lists all files of an instance with their contents, modes and owners. The
// log goes on, and the socket belongs to the daemon.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var lines []string
	for _, folder := range []string{"etc/gatelodge", "var/lib/gatelodge", "run/gatelodge"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			var data []byte
			if info.Mode().IsRegular() && filepath.Ext(name) != ".log" {
				if data, err = os.ReadFile(name); err != nil {
					return err
				}
			}
			owner := info.Sys().(*syscall.Stat_t).Uid
			lines = append(lines, fmt.Sprintf("%s %s %d %x", name, info.Mode(), owner, sha256.Sum256(data)))
			return nil
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return lines
}
