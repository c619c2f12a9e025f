// Package machine runs virtual machines for tests: a small Debian under QEMU's
// software emulation, with a real kernel, systemd and a disk that survives a
// power cut. What the network namespaces of the lab cannot show is shown here.
//
// A machine is driven through the QEMU guest agent, which needs no network:
// the tests may break that.
package machine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Options describe a machine.
type Options struct {
	// Name is its host name, and that of its files.
	Name string
	// Image is what its disk holds at first.
	Image Image
	// Dir is where its disk, its console's log and its sockets are kept.
	Dir string
	// MiB is its memory; 512 if zero.
	MiB int
	// Tap is the interface, made already, that is the other end of its only
	// network interface, and MAC that interface's address.
	Tap, MAC string
	// Disks are more disks: /dev/vdb and so on. They are read-only.
	Disks []string
	// Start starts the emulator, in a network namespace for instance.
	Start func(*exec.Cmd) error
}

// Boot says how a machine starts this time.
type Boot struct {
	// Kernel is added to the kernel's command line.
	Kernel string
	// Clock is what the machine's clock starts with, in UTC; now if zero.
	Clock time.Time
}

// Machine is a virtual machine. It is used by one goroutine at a time, but for
// Run and Shell.
type Machine struct {
	Name string

	options Options
	emu     *exec.Cmd
	ended   chan struct{} // closed once emuErr is set
	emuErr  error
	agent   *agent
}

// New makes a machine that is switched off, with a new disk.
func New(ctx context.Context, o Options) (*Machine, error) {
	if o.MiB == 0 {
		o.MiB = 512
	}
	m := &Machine{Name: o.Name, options: o}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	create := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", cmp.Or(o.Image.Format, "raw"), "-b", o.Image.Disk, m.disk())
	if text, err := create.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot make the disk of machine %s: %w: %s", o.Name, err, text)
	}
	return m, nil
}

func (m *Machine) disk() string   { return filepath.Join(m.options.Dir, m.Name+".qcow2") }
func (m *Machine) socket() string { return filepath.Join(m.options.Dir, m.Name+".agent") }

// Console returns the file with what the machine has printed.
func (m *Machine) Console() string { return filepath.Join(m.options.Dir, m.Name+".console") }

// Start switches the machine on. Await waits until it has started.
func (m *Machine) Start(b Boot) error {
	if m.emu != nil {
		return fmt.Errorf("machine %s is on already", m.Name)
	}
	if err := os.RemoveAll(m.socket()); err != nil {
		return err
	}
	m.emu = exec.Command("qemu-system-x86_64", m.arguments(b)...)
	log, err := os.OpenFile(m.Console()+".emulator", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	m.emu.Stdout, m.emu.Stderr = log, log
	if err := m.options.Start(m.emu); err != nil {
		m.emu = nil
		return fmt.Errorf("cannot start machine %s: %w", m.Name, err)
	}
	ended := make(chan struct{})
	m.ended = ended
	go func(emu *exec.Cmd) {
		m.emuErr = emu.Wait()
		close(ended)
	}(m.emu)
	return nil
}

// arguments are those of the emulator. Writes reach the disk's file when the
// machine flushes them, and not before: a power cut loses what a real one
// would lose.
func (m *Machine) arguments(b Boot) []string {
	o := m.options
	kernel := "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off loglevel=4 systemd.show_status=0 systemd.hostname=" + o.Name
	if b.Kernel != "" {
		kernel += " " + b.Kernel
	}
	args := []string{
		"-accel", "tcg,thread=multi,tb-size=128", "-cpu", "max", "-smp", "2", "-m", fmt.Sprint(o.MiB),
		"-nodefaults", "-no-user-config", "-display", "none",
		"-kernel", o.Image.Kernel, "-initrd", o.Image.Initrd, "-append", kernel,
		"-drive", "file=" + m.disk() + ",if=virtio,cache=writeback",
		"-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
		"-chardev", "socket,id=agent,server=on,wait=off,path=" + m.socket(),
		"-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-chardev", "file,id=console,append=on,path=" + m.Console(), "-serial", "chardev:console",
		"-netdev", "tap,id=net,ifname=" + o.Tap + ",script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=net,romfile=,mac=" + o.MAC,
	}
	for _, d := range o.Disks {
		args = append(args, "-drive", "file="+d+",if=virtio,format=raw,readonly=on")
	}
	if !b.Clock.IsZero() {
		args = append(args, "-rtc", "base="+b.Clock.UTC().Format("2006-01-02T15:04:05"))
	}
	return args
}

// Await waits until the machine has started up to its agent.
func (m *Machine) Await(ctx context.Context) error {
	if m.agent == nil {
		a, err := dialAgent(ctx, m.socket())
		if err != nil {
			return m.explain(err)
		}
		m.agent = a
	}
	return m.explain(m.agent.sync(ctx))
}

// explain adds to an error what the console said last.
func (m *Machine) explain(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-m.ended:
		err = errors.Join(err, fmt.Errorf("its emulator ended: %v: %s", m.emuErr, lastLines(m.Console()+".emulator", 3)))
	default:
	}
	return fmt.Errorf("machine %s: %w; its console: %s", m.Name, err, lastLines(m.Console(), 5))
}

func lastLines(file string, n int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}

// PowerCut ends the machine as a power cut would: what it has not flushed to
// its disk is lost.
func (m *Machine) PowerCut() error {
	if m.emu == nil {
		return nil
	}
	err := m.emu.Process.Kill()
	<-m.ended
	return errors.Join(ignoreDone(err), m.off())
}

func ignoreDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// off forgets the machine that has ended.
func (m *Machine) off() error {
	m.emu = nil
	if m.agent == nil {
		return nil
	}
	err := m.agent.close()
	m.agent = nil
	return err
}

// Reboot starts the machine again from within, and waits until it is back as
// Await does. That it has left, the console tells, not the agent: one that is
// asked while the machine shuts down can hold it up for 90 seconds.
func (m *Machine) Reboot(ctx context.Context) error {
	before, err := m.restarts()
	if err != nil {
		return err
	}
	if err := m.Send("systemctl", "reboot"); err != nil {
		return err
	}
	for {
		now, err := m.restarts()
		if err != nil {
			return err
		}
		if now > before {
			return m.Await(ctx)
		}
		select {
		case <-m.ended:
			return m.explain(errors.New("it ended instead of starting again"))
		case <-ctx.Done():
			return m.explain(context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// restarts counts what the kernel says last before the machine starts again.
func (m *Machine) restarts() (int, error) {
	text, err := os.ReadFile(m.Console())
	return bytes.Count(text, []byte("reboot: Restarting system")), err
}

// SwitchOff ends the machine in order.
func (m *Machine) SwitchOff(ctx context.Context) error {
	if err := m.Send("systemctl", "poweroff"); err != nil {
		return err
	}
	select {
	case <-m.ended:
		return m.off()
	case <-ctx.Done():
		return m.explain(context.Cause(ctx))
	}
}

// Frozen returns the disk of a machine that is off as an image, for others to
// start from. The machine itself must not be started again.
func (m *Machine) Frozen() Image {
	return Image{Disk: m.disk(), Format: "qcow2", Kernel: m.options.Image.Kernel, Initrd: m.options.Image.Initrd}
}

// Close ends the machine, however it is.
func (m *Machine) Close() error { return m.PowerCut() }

// ExitError is a program that ran on a machine and failed.
type ExitError struct {
	Machine string
	Args    []string
	Status  int
	Stdout  string
	Stderr  string
}

// Error says which program failed where, and what it said.
func (e *ExitError) Error() string {
	return fmt.Sprintf("on %s: %s: exit status %d: %s", e.Machine, strings.Join(e.Args, " "), e.Status, strings.TrimSpace(e.Stdout+e.Stderr))
}

// Run runs a program on the machine and returns its standard output. A program
// that fails is an *ExitError.
func (m *Machine) Run(ctx context.Context, args ...string) (string, error) {
	if m.agent == nil {
		return "", fmt.Errorf("machine %s is off or has not started yet", m.Name)
	}
	out, err := m.agent.run(ctx, args)
	var exit *ExitError
	if errors.As(err, &exit) {
		exit.Machine = m.Name
	} else if err != nil {
		err = fmt.Errorf("on %s: %s: %w", m.Name, strings.Join(args, " "), err)
	}
	return out, err
}

// Shell runs a script with sh -e, as Run does.
func (m *Machine) Shell(ctx context.Context, script string) (string, error) {
	return m.Run(ctx, "/bin/sh", "-ec", script)
}

// Send starts a program on the machine and does not wait for it.
func (m *Machine) Send(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := m.agent.start(ctx, args)
	return err
}
