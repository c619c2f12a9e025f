//go:build steps

// Package step marks the moments between two side effects, at which a test
// kills or stops the program: whatever has been done by then must be whole.
//
// This is the build with the tag steps, which is for tests and never shipped.
package step

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// EnvFolder names the folder by which a test talks to the programs it has
// started. Its file OrderFile says "ACTION NUMBER WORD...": every program
// whose arguments hold all those words counts its steps as long as the file
// is as it is, writes its process number and their numbers and names to
// LogFile, and at step NUMBER sends itself the signal of ACTION, kill or stop.
// Number 0 only counts.
const EnvFolder = "GATELODGE_STEPS"

// The files in that folder.
const (
	OrderFile = "order"
	LogFile   = "log"
)

var signals = map[string]syscall.Signal{"kill": syscall.SIGKILL, "stop": syscall.SIGSTOP}

var counter struct {
	sync.Mutex
	order string // under which the steps are counted
	n     int
}

// At marks the moment between two side effects: what was just done, or is
// about to be, and with which object. It panics where a test has made a
// mistake, as there is nobody to return an error to.
func At(what string, of ...any) {
	folder := os.Getenv(EnvFolder)
	if folder == "" {
		return
	}
	counter.Lock()
	defer counter.Unlock()
	action, number, mine := readOrder(filepath.Join(folder, OrderFile))
	if !mine {
		counter.order = ""
		return
	}
	counter.n++
	note(filepath.Join(folder, LogFile), fmt.Sprintln(append([]any{os.Getpid(), counter.n, what}, of...)...))
	if counter.n != number {
		return
	}
	if err := syscall.Kill(os.Getpid(), signals[action]); err != nil {
		panic(err)
	}
}

// readOrder reads what is asked of this program; a new order counts from 1.
func readOrder(file string) (action string, number int, mine bool) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, false
	}
	if err != nil {
		panic(err)
	}
	words := strings.Fields(string(text))
	if len(words) < 2 || signals[words[0]] == 0 {
		panic("not an order: " + string(text))
	}
	if _, err := fmt.Sscan(words[1], &number); err != nil {
		panic(err)
	}
	for _, w := range words[2:] {
		if !slices.Contains(os.Args, w) {
			return "", 0, false
		}
	}
	if counter.order != string(text) {
		counter.order, counter.n = string(text), 0
	}
	return words[0], number, true
}

func note(file, line string) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	if _, err := f.WriteString(line); err != nil {
		panic(err)
	}
	if err := f.Close(); err != nil {
		panic(err)
	}
}
