package netfilter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// maxOutput bounds what is kept of what a program prints, in bytes, where only
// its complaints are wanted.
const maxOutput = 16 << 10

// systemPath is where those who are not root commonly do not look.
const systemPath = ":/usr/sbin:/sbin"

// Find finds a program on PATH, or where nft(8) and its like lie on systems that
// keep the directories of system programs off the PATH of ordinary users.
func Find(name string) (file string, found bool) {
	for _, folder := range []string{"", "/usr/sbin/", "/sbin/"} {
		if file, err := exec.LookPath(folder + name); err == nil {
			return file, true
		}
	}
	return "", false
}

// Run runs the program at path with that input and returns what it prints on
// both its outputs, cut at 16 KiB. The error is an *exec.ExitError if the
// program fails, and that of ctx if that ends.
func Run(ctx context.Context, path, stdin string, args ...string) (string, error) {
	var out capped
	cmd := command(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.String(), err
}

// Output finds and runs a program and returns what it prints. What it says when
// it fails is in the error.
func Output(ctx context.Context, name string, args ...string) (string, error) {
	path, found := Find(name)
	if !found {
		return "", fmt.Errorf("there is no %s here", name)
	}
	var said capped
	cmd := command(ctx, path, args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, strings.TrimSpace(said.String()+string(out)))
	}
	return string(out), nil
}

// command speaks English, finds other programs where root does, and does not
// wait for what its children hold open.
func command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+systemPath)
	cmd.WaitDelay = time.Second
	return cmd
}

// capped keeps the first maxOutput bytes written to it. The buffer is a field:
// were it embedded, what reads programs would fill it past Write.
type capped struct{ kept bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	c.kept.Write(p[:min(len(p), maxOutput-c.kept.Len())])
	return len(p), nil
}

func (c *capped) String() string { return c.kept.String() }

// ExitCode returns the number with which a program has failed; failed is false
// where err is something else.
func ExitCode(err error) (code int, failed bool) {
	exit := new(exec.ExitError)
	if !errors.As(err, &exit) {
		return 0, false
	}
	return exit.ExitCode(), true
}
