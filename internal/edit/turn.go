package edit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/problem"
)

// aloneTime is how long a command waits for another that changes the same
// instance.
const aloneTime = 15 * time.Second

// Alone carries out what changes this instance, one command at a time: two that
// edit the same file would lose what the first has written. It locks the folder
// of the program's memory, which others cannot even open; before there is one
// nothing can be lost.
func (e Editor) Alone(ctx context.Context, do func() error) error {
	folder, err := os.Open(e.Paths.State())
	if errors.Is(err, fs.ErrNotExist) {
		return do()
	}
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := e.awaitTurn(ctx, folder); err != nil {
		return err
	}
	return do()
}

// awaitTurn locks the folder, and says for whom it waits.
func (e Editor) awaitTurn(ctx context.Context, folder *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, aloneTime)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; said = true {
		err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return os.NewSyscallError("flock", err)
		}
		if !said {
			e.Waits(holder(folder))
		}
		select {
		case <-ctx.Done():
			return problem.New(problem.Failed, "try again when that has ended", "nothing was changed, because another command is changing this machine: %s", holder(folder))
		case <-tick.C:
		}
	}
}

// holder names the process that has locked a file (proc_locks(5)).
func holder(file *os.File) string {
	const unknown = "another gatelodge command"
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return unknown
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return unknown
	}
	defer locks.Close()
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF"
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" || !strings.HasSuffix(fields[5], ":"+strconv.FormatUint(st.Ino, 10)) {
			continue
		}
		return process(fields[4])
	}
	return unknown
}

// process shows a process by its command line.
func process(pid string) string {
	line, err := os.ReadFile(filepath.Join("/proc", filepath.Base(pid), "cmdline"))
	words := strings.Split(strings.Trim(string(line), "\x00"), "\x00")
	if err != nil || words[0] == "" {
		return "process " + pid
	}
	words[0] = filepath.Base(words[0])
	const most = 60
	text := strings.Join(words, " ")
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("%q (process %s)", text, pid)
}
