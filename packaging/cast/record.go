package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// shown are the commands of the picture, as they are typed at home. The lab has
// no service manager, one host name, and a folder of its own for each host: its
// gatelodge adds what says so, and the folder is left out of what is shown.
var shown = []string{
	"gatelodge init --yes root@198.51.100.1",
	"gatelodge expose 80/tcp 443/tcp --name web",
}

const wrapper = `#!/bin/sh
command=$1; shift
[ "$command" != init ] || set -- --without-service --name home --remote-root 'GATE' "$@"
exec 'BINARY' --root 'HOME' "$command" "$@"
`

// record runs the commands in a lab.
func record(ctx context.Context, binary string) (lines []line, err error) {
	if binary, err = filepath.Abs(binary); err != nil {
		return nil, err
	}
	l, err := lab.New(ctx, lab.Options{Binary: binary})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down(l), l.Close()) }()
	home := l.Home()
	script := strings.NewReplacer("BINARY", binary, "HOME", home.Root(), "GATE", l.Gate().Root()).Replace(wrapper)
	if err := os.WriteFile(filepath.Join(home.Bin(), "gatelodge"), []byte(script), 0o755); err != nil {
		return nil, err
	}
	if err := l.LetSSHIn(home); err != nil {
		return nil, err
	}
	start := time.Now()
	for _, command := range shown {
		lines = append(lines, line{time.Since(start), prompt + command})
		said, err := run(ctx, home, command, start)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", command, err)
		}
		lines = append(lines, said...)
	}
	return append(lines, line{time.Since(start), prompt}), nil
}

// run carries one command out at home, and notes when each line came.
func run(ctx context.Context, home *lab.Host, command string, start time.Time) (lines []line, err error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec 2>&1; "+command)
	cmd.Env = append(os.Environ(), "PATH="+home.Bin()+":"+os.Getenv("PATH"), "SSH_CONNECTION=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := home.Launch(cmd); err != nil {
		return nil, err
	}
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		lines = append(lines, line{time.Since(start), strings.ReplaceAll(scanner.Text(), home.Root(), "")})
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, write(lines))
	}
	return lines, nil
}

// down ends the daemons that init has started.
func down(l *lab.Lab) error {
	var errs []error
	for _, h := range []*lab.Host{l.Home(), l.Gate()} {
		_, err := h.Gatelodge(context.Background(), "down")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
