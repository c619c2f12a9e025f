package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strings"

	"github.com/gatelodge/gatelodge/packaging"
)

// users are those of a machine.
type users interface {
	exists(name string) (bool, error)
	add(ctx context.Context, name string) error
	remove(ctx context.Context, name string) error
}

// machineUsers are this machine's, changed by the programs that it has.
type machineUsers struct{}

func (machineUsers) exists(name string) (bool, error) {
	_, err := user.Lookup(name)
	if errors.As(err, new(user.UnknownUserError)) {
		return false, nil
	}
	return err == nil, err
}

func (machineUsers) add(ctx context.Context, name string) error {
	const home, shell = "/var/lib/gatelodge", "/usr/sbin/nologin"
	return firstOf(ctx, "make the user "+name,
		command{packaging.Sysusers, []string{"systemd-sysusers", "-"}},
		command{"", []string{"useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home, "--shell", shell, "--comment", "Gatelodge", name}},
		command{"", []string{"adduser", "-S", "-D", "-H", "-h", home, "-s", shell, name}},
	)
}

// remove also removes the group, where the first command has left it.
func (u machineUsers) remove(ctx context.Context, name string) error {
	exists, err := u.exists(name)
	if err != nil {
		return err
	}
	if exists {
		if err := firstOf(ctx, "remove the user "+name, command{"", []string{"userdel", name}}, command{"", []string{"deluser", name}}); err != nil {
			return err
		}
	}
	_, err = user.LookupGroup(name)
	if errors.As(err, new(user.UnknownGroupError)) {
		return nil
	}
	if err != nil {
		return err
	}
	return firstOf(ctx, "remove the group "+name, command{"", []string{"groupdel", name}}, command{"", []string{"delgroup", name}})
}

// command is one to run, with what it reads.
type command struct {
	input string
	words []string
}

// firstOf runs the first of several commands that this machine has.
func firstOf(ctx context.Context, what string, commands ...command) error {
	var names []string
	for _, c := range commands {
		err := run(ctx, c.input, c.words...)
		if !errors.Is(err, exec.ErrNotFound) {
			return err
		}
		names = append(names, c.words[0])
	}
	return fmt.Errorf("cannot %s: this machine has none of %s", what, strings.Join(names, ", "))
}

func run(ctx context.Context, input string, words ...string) error {
	c := exec.CommandContext(ctx, words[0], words[1:]...)
	c.Stdin = strings.NewReader(input)
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// packageManager returns which package manager owns the program of this
// machine, "" if none does.
func packageManager(ctx context.Context) (string, error) {
	if _, err := os.Stat(packaging.Program); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	for _, m := range []struct {
		name  string
		query []string
	}{
		{"dpkg", []string{"dpkg-query", "--search"}}, {"rpm", []string{"rpm", "--query", "--file"}}, {"apk", []string{"apk", "info", "--who-owns"}},
	} {
		// A manager that is not there, or does not know the file, does not own
		// it.
		if run(ctx, "", append(m.query, packaging.Program)...) == nil {
			return m.name, nil
		}
	}
	return "", nil
}
