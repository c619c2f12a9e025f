// Package standing is a lab that stays when the command that made it has ended:
// where it is written down, how its hosts are entered, and how it ends.
package standing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/demo"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// Lab is a lab that stays until it is taken down.
type Lab struct {
	Since time.Time `json:"since"`
	// Supervisor is the process outside; when it ends, the lab is gone.
	Supervisor Process `json:"supervisor"`
	// Inside is the process whose namespaces the lab is in.
	Inside Process     `json:"inside"`
	Log    string      `json:"log"`
	Hosts  []Host      `json:"hosts"`
	Report demo.Report `json:"report"`
}

// Host is a host of a standing lab.
type Host struct {
	Name      string `json:"name"`
	Addresses string `json:"addresses"`
	Bin       string `json:"bin"` // the folder with its gatelodge, seen from inside
	Daemon    bool   `json:"daemon"`
}

// Process is a process that cannot be mistaken for a later one of the same
// number.
type Process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // its start time as /proc has it
}

// NewProcess returns the process of that number.
func NewProcess(pid int) (Process, error) {
	start, err := startTime(pid)
	return Process{PID: pid, Start: start}, err
}

// Alive reports whether the process still runs.
func (p Process) Alive() bool {
	start, err := startTime(p.PID)
	return err == nil && start == p.Start
}

// startTime returns field 22 of proc_pid_stat(5), and an error for processes
// that have ended.
func startTime(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The name, field 2, is in parentheses and may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[19], nil
}

// Describe returns what others need to find this lab, as seen from inside it:
// who runs it outside is for them to add.
func Describe(l *lab.Lab, r demo.Report) Lab {
	s := Lab{Since: time.Now().Round(time.Second), Report: r, Inside: Process{PID: netns.OutsidePID()}}
	for _, h := range l.Hosts() {
		addrs := h.IPv4.String()
		if h.IPv6.IsValid() {
			addrs += " " + h.IPv6.String()
		}
		s.Hosts = append(s.Hosts, Host{Name: h.Name, Addresses: addrs, Bin: h.Bin(), Daemon: h.PID() != 0})
	}
	return s
}

// Alive reports whether the lab still stands.
func (s Lab) Alive() bool { return s.Supervisor.Alive() && s.Inside.Alive() }

// Exec replaces this process by a command on a host of the lab: without one,
// by a shell.
func (s Lab) Exec(host string, command []string) error {
	i := slices.IndexFunc(s.Hosts, func(h Host) bool { return h.Name == host })
	if i < 0 {
		var names []string
		for _, h := range s.Hosts {
			names = append(names, h.Name)
		}
		return fmt.Errorf("the lab has no host %q; it has %s", host, strings.Join(names, ", "))
	}
	if len(command) == 0 {
		command = []string{shell()}
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return err
	}
	args := []string{"nsenter", "--target", strconv.Itoa(s.Inside.PID), "--mount", "--pid"}
	if other, err := s.otherUser(); err != nil {
		return err
	} else if other {
		args = append(args, "--user", "--preserve-credentials")
	}
	args = append(append(args, "--", "ip", "netns", "exec", host), command...)
	err = errors.Join(os.Setenv("PATH", s.Hosts[i].Bin+":"+os.Getenv("PATH")), os.Setenv("PS1", host+"# "))
	if err != nil {
		return err
	}
	return syscall.Exec(nsenter, args, os.Environ())
}

func shell() string {
	if sh := os.Getenv("SHELL"); sh != "" {
		return sh
	}
	return "/bin/sh"
}

// otherUser reports whether the lab has a user namespace of its own: it has
// one unless it was started by root.
func (s Lab) otherUser() (bool, error) {
	ours, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return false, err
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", s.Inside.PID))
	return ours != theirs, err
}

// Down takes the lab down and returns when it is gone.
func (s Lab) Down(ctx context.Context) error {
	for _, step := range []struct {
		signal   syscall.Signal
		patience time.Duration
	}{{syscall.SIGTERM, 10 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if !s.Supervisor.Alive() {
			return nil
		}
		if err := syscall.Kill(s.Supervisor.PID, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("cannot end the lab's process %d: %w", s.Supervisor.PID, err)
		}
		ctx, cancel := context.WithTimeout(ctx, step.patience)
		err := lab.Until(ctx, 20*time.Millisecond, s.gone)
		cancel()
		if err == nil {
			return nil
		}
	}
	return s.gone()
}

func (s Lab) gone() error {
	if s.Supervisor.Alive() || s.Inside.Alive() {
		return fmt.Errorf("the lab's process %d is still there", s.Supervisor.PID)
	}
	return nil
}

// WriteText writes, for people, which hosts there are and how to enter them.
func (s Lab) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "the lab has been running since %s, process %d, log %s\n", s.Since.Format("15:04:05"), s.Supervisor.PID, s.Log)
	for _, h := range s.Hosts {
		line := fmt.Sprintf("  gatelodge lab shell %-9s  %s", h.Name, h.Addresses)
		if h.Daemon {
			line = fmt.Sprintf("%-62s  gatelodge runs", line)
		}
		fmt.Fprintln(&b, line)
	}
	fmt.Fprintf(&b, "on gate, home and home2 `gatelodge status` and all else work as they would there\n")
	fmt.Fprintf(&b, "take it down with: gatelodge lab down\n")
	_, err := io.WriteString(w, b.String())
	return err
}
