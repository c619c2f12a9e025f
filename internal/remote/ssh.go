// Package remote is another machine, reached by the system's own ssh(1): with
// the owner's configuration, agent, jump hosts and known host keys. It looks
// at a VPS, judges whether it can be a gate, and brings the program there.
package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/printable"
)

// Options says how to reach a machine.
type Options struct {
	// Destination is as ssh takes it: host, user@host, ssh://user@host:port,
	// or a Host of ssh_config(5).
	Destination string
	// Port is that of the ssh server; 0 leaves it to ssh.
	Port uint16
	// Settings are given to ssh, each with -o, before our own.
	Settings []string
	// As runs ssh as another user of this machine; nil runs it as this one.
	As *User
	// Agent is the socket of the ssh agent; "" leaves it to the environment.
	Agent string
	// Terminal gets what ssh has to say while it connects, made printable: the
	// VPS's own words come the same way. Passwords and unknown host keys ssh asks
	// about on /dev/tty, and cleans there what a server gives it to ask.
	Terminal io.Writer
}

// User is a user of this machine.
type User struct {
	Name     string
	UID, GID uint32
	Groups   []uint32
	Home     string
}

// Error is a failure with what can be done about it.
type Error struct {
	Err  error
	Hint string
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the failure without the hint.
func (e *Error) Unwrap() error { return e.Err }

// Conn is a connection to a machine. All commands share it, so that the owner
// authenticates once.
type Conn struct {
	options  Options
	dir      string // of the connection's socket
	user     string // who has logged in there
	elevate  bool   // whether root's commands need sudo
	password string // for sudo, if it asks
}

// idle is how long ssh keeps the connection when nobody uses it: for
// the case that this process is killed and cannot end it.
const idle = 10 * time.Minute

// maxDestination bounds a destination in bytes: a host name has 253 at most.
const maxDestination = 400

// CheckDestination refuses what is no destination for ssh: among them what it
// would take for an option.
func CheckDestination(d string) error {
	ok := d != "" && printable.IsLine(d, maxDestination) && !strings.HasPrefix(d, "-") && !strings.ContainsAny(d, " \t\r\n'\"$`()&;|<>\\")
	if rest, isURL := strings.CutPrefix(d, "ssh://"); ok && isURL {
		u, err := url.Parse(d)
		ok = err == nil && u.Hostname() != "" && strings.Trim(u.Path, "/") == "" && rest != ""
	}
	if !ok {
		return fmt.Errorf("%q is not a destination for ssh: write USER@HOST", d)
	}
	return nil
}

// Connect opens the connection. It is the only call that may ask the owner for
// something.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	if err := CheckDestination(o.Destination); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("ssh"); err != nil {
		return nil, &Error{fmt.Errorf("the program ssh is not installed on this machine: %w", err), "apt install openssh-client"}
	}
	dir, err := os.MkdirTemp("", "gatelodge-ssh-")
	if err != nil {
		return nil, err
	}
	c := &Conn{options: o, dir: dir}
	if o.As != nil {
		err = os.Chown(dir, int(o.As.UID), int(o.As.GID))
	}
	if err == nil {
		err = c.greet(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// maxTold is how many lines the owner is shown while ssh connects.
const maxTold = 100

// greet makes the connection, and makes sure that there is a shell at its end.
func (c *Conn) greet(ctx context.Context) error {
	word := rand.Text()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd, said := c.ssh(ctx, Quote("sh", "-c", `printf '%s %s %s\n' "$0" "$(id -u)" "$(id -un)"`, word))
	terminal := printable.NewWriter(c.options.Terminal, "ssh: ", maxTold)
	cmd.Stderr = io.MultiWriter(terminal, said)
	out := &answer{mark: []byte(word + " "), stop: stop}
	cmd.Stdout = out
	err := finish(cmd.Run())
	if err := terminal.Flush(); err != nil {
		return err
	}
	if err != nil {
		return c.explain(ctx, err, said.String())
	}
	uid, name, whole := strings.Cut(firstLine(out.text.String()), " ")
	if !whole {
		return &Error{
			fmt.Errorf("ssh reaches %s, but cannot run commands there: the answer is %.60q", c.options.Destination, out.head),
			"the account there needs a shell and no forced command",
		}
	}
	if !loginName.MatchString(name) {
		return &Error{
			fmt.Errorf("ssh reaches %s, but the name of the user there is not valid: %.60q", c.options.Destination, name),
			"on the VPS: id -un",
		}
	}
	c.user, c.elevate = name, uid != "0"
	return nil
}

// User returns who has logged in there.
func (c *Conn) User() string { return c.user }

// Close ends the connection.
func (c *Conn) Close() error {
	if _, err := os.Lstat(c.socket()); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "ssh", "-S", c.socket(), "-O", "exit", "--", c.options.Destination)
		c.become(cmd)
		// One that has ended by itself meanwhile is as good.
		_ = cmd.Run()
	}
	return os.RemoveAll(c.dir)
}

func (c *Conn) socket() string { return filepath.Join(c.dir, "s") }

// ssh prepares an ssh that carries out one command line there, and what it
// will have said on its standard error.
func (c *Conn) ssh(ctx context.Context, line string, settings ...string) (*exec.Cmd, *tail) {
	args := []string{"-T", "-S", c.socket()}
	for _, s := range append(append(c.options.Settings, settings...),
		"ControlMaster=auto", "ControlPersist="+strconv.Itoa(int(idle.Seconds())),
		"ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4",
		// What the owner's configuration may hold for other purposes.
		"RemoteCommand=none", "ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no",
	) {
		args = append(args, "-o", s)
	}
	if c.options.Port != 0 {
		args = append(args, "-p", strconv.Itoa(int(c.options.Port)))
	}
	cmd := exec.CommandContext(ctx, "ssh", append(args, "--", c.options.Destination, line)...)
	c.become(cmd)
	// The connection outlives the first command, and may keep its pipes open.
	cmd.WaitDelay = time.Second
	said := &tail{}
	cmd.Stderr = said
	return cmd, said
}

// become has the program run as the user whose ssh it is.
func (c *Conn) become(cmd *exec.Cmd) {
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if u := c.options.As; u != nil {
		cmd.Env = append(cmd.Env, "HOME="+u.Home, "USER="+u.Name, "LOGNAME="+u.Name)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	if c.options.Agent != "" {
		cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+c.options.Agent)
	}
}

// Address returns where ssh connects to, and whether it does so directly, not
// by another host or program. It is what its configuration makes of the
// destination.
func (c *Conn) Address(ctx context.Context) (name string, direct bool, err error) {
	cmd, said := c.ssh(ctx, "")
	args := slices.Insert(slices.Clone(cmd.Args[:len(cmd.Args)-1]), 1, "-G")
	cmd.Args = args
	out, err := cmd.Output()
	if err != nil {
		return "", false, fmt.Errorf("ssh -G %s: %w: %s", c.options.Destination, err, lastLine(said.String()))
	}
	direct = true
	for line := range strings.Lines(string(out)) {
		switch word, value, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "hostname":
			name = value
		case "proxyjump", "proxycommand":
			direct = direct && value == "none"
		}
	}
	return name, direct && name != "", nil
}

// Knock opens another connection, for some seconds if it may log in without
// asking, so that the machine sees one come through.
func (c *Conn) Knock(ctx context.Context) error {
	const patience = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd, said := c.ssh(ctx, "sleep 3", "ControlPath=none", "BatchMode=yes")
	cmd.Args = slices.Replace(cmd.Args, 2, 4, "-S", "none")
	if err := finish(cmd.Run()); err != nil && ctx.Err() != nil {
		return fmt.Errorf("no new ssh connection to %s within %s: %s", c.options.Destination, patience, lastLine(said.String()))
	}
	return nil
}

// finish drops the one error that is none: the command has ended well, and the
// connection keeps its pipes.
func finish(err error) error {
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}

// lastLine returns the last line that says something.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// failedConnection is what ssh's exit status 255 means.
const failedConnection = 255

// explain says why there is no connection, in ssh's own words.
func (c *Conn) explain(ctx context.Context, err error, said string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	text := lastLine(said)
	if text == "" {
		text = err.Error()
	}
	return &Error{fmt.Errorf("ssh cannot connect to %s: %s", c.options.Destination, text), connectHint(said, c.options.Destination)}
}

// connectHint knows what ssh says, and what helps.
func connectHint(said, destination string) string {
	for _, h := range []struct{ words, hint string }{
		{"IDENTIFICATION HAS CHANGED", "if the VPS was installed again, remove its old key as ssh says above; if not, somebody may intercept the connection: compare the key with the one in your provider's console"},
		{"Host key verification failed", "its host key is not known here: connect once by hand, compare the key with the one in your provider's console, and accept it: ssh " + destination},
		{"Permission denied", "make this work by hand first: ssh " + destination + " (the user's name, the key, ssh-add; or --ssh-option IdentityFile=FILE)"},
		{"Too many authentication failures", "name the one key to use: --ssh-option IdentitiesOnly=yes --ssh-option IdentityFile=FILE"},
		{"timed out", "check the address, that the VPS runs, and that its provider's firewall lets ssh in; another port: --port"},
		{"Connection refused", "no ssh server listens there; another port: --port"},
		{"No route to host", "check the address, and this machine's own network"},
		{"Network is unreachable", "this machine has no route to that address: an IPv6-only VPS needs IPv6 at home"},
		{"Could not resolve hostname", "check the name, or use the VPS's address"},
	} {
		if strings.Contains(said, h.words) {
			return h.hint
		}
	}
	return "make this work by hand first: ssh " + destination
}
