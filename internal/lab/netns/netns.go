// Package netns makes network namespaces for the lab and for tests: several
// hosts on one machine, without touching the machine's own network.
//
// A program first calls Enter, which starts it again inside namespaces of its
// own; what it then makes disappears with it, however it ends. Enter works
// without root wherever the kernel allows user namespaces (namespaces(7)).
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// EnvInside marks a process that runs inside; its value is the process number
// that the first process there has outside.
const EnvInside = "GATELODGE_NETNS"

// dir is where ip-netns(8) keeps named network namespaces.
const dir = "/run/netns"

// Inside reports whether this process, or one of its ancestors, has passed
// Enter.
func Inside() bool { return os.Getenv(EnvInside) != "" }

// OutsidePID returns the number that the first process inside has outside: the
// one to give to nsenter(1). It is 0 outside.
func OutsidePID() int {
	pid, err := strconv.Atoi(os.Getenv(EnvInside))
	if err != nil {
		return 0
	}
	return pid
}

// Enter moves the program into user, network, mount and process namespaces of
// its own. Outside, it runs the program again inside, waits for it and returns
// its exit status and true; the caller exits with it. Inside, it returns
// false.
//
// Between the two stands one process more, also a run of this program: the
// first of the process namespace, which prepares the namespaces, passes
// signals on and reaps what nobody else waits for. When it ends, the kernel
// ends all others there.
func Enter() (status int, outside bool, err error) {
	switch {
	case !Inside():
		status, err = again()
	case os.Getpid() == 1:
		status, err = first()
	default:
		return 0, false, nil
	}
	return status, true, err
}

// again runs this program as the first process of new namespaces until it
// ends. The kernel kills it should we die before it.
func again() (int, error) {
	cmd := self("outside")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	// Pdeathsig watches the thread that starts the child, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot make namespaces: %w (%s)", err, allow)
	}
	defer passSignals(cmd.Process)()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		return cmd.ProcessState.ExitCode(), nil
	}
	return exitStatus(ws), nil
}

// allow says what to change where the kernel forbids namespaces.
const allow = "run as root, or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0"

// first is what the first process inside does.
func first() (int, error) {
	outsidePID, err := os.Readlink("/proc/self") // still the /proc of outside
	if err != nil {
		return 0, err
	}
	if err := prepare(); err != nil {
		return 0, err
	}
	cmd := self(outsidePID)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer passSignals(cmd.Process)()
	return reap(cmd.Process.Pid)
}

// reap waits for every child, adopted ones too, until the given one ends.
func reap(until int) (int, error) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("cannot wait for processes: %w", err)
		case pid == until:
			return exitStatus(ws), nil
		}
	}
}

// self is this program with the same arguments, one step further inside.
func self(outsidePID string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), EnvInside+"="+outsidePID)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// passSignals hands the signals that ask a program to end on to p, until the
// function it returns is called.
func passSignals(p *os.Process) (stop func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range signals {
			_ = p.Signal(s)
		}
	}()
	return func() { signal.Stop(signals) }
}

// exitStatus is the status that a shell would show.
func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// prepare gives the new namespaces what programs expect: mounts that do not
// spread outside, /proc of their own, an empty /run, and a loopback interface.
func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make mounts private: %w (%s)", err, allow)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("cannot mount an empty /run: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return loopbackUp()
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("no loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("cannot bring up the loopback interface: %w", err)
	}
	return nil
}

// Namespace is a network namespace by name, as ip-netns(8) knows it.
type Namespace struct {
	Name   string
	handle netns.NsHandle
}

// New makes a network namespace, with its loopback interface up.
func New(name string) (*Namespace, error) {
	ns := &Namespace{Name: name}
	err := onThread(func() (err error) {
		if ns.handle, err = netns.NewNamed(name); err != nil {
			return fmt.Errorf("cannot make network namespace %s: %w", name, err)
		}
		return loopbackUp()
	})
	if err != nil {
		return nil, err
	}
	return ns, nil
}

// Open returns the namespace that New made under that name.
func Open(name string) (*Namespace, error) {
	handle, err := netns.GetFromPath(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("cannot open network namespace %s: %w", name, err)
	}
	return &Namespace{Name: name, handle: handle}, nil
}

// Do runs f inside the namespace, on a thread of its own. Sockets made and
// programs started by f itself belong to the namespace and stay in it; other
// goroutines that f starts do not.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("cannot enter network namespace %s: %w", n.Name, err)
		}
		return f()
	})
}

// Close removes the namespace's name and handle. The namespace itself goes
// when the last process and socket in it are gone.
func (n *Namespace) Close() error {
	return errors.Join(n.handle.Close(), netns.DeleteNamed(n.Name))
}

// onThread runs f on a thread that ends with it, so that no other goroutine
// ever inherits its namespace.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}
