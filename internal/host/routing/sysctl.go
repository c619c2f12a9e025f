package routing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// ErrNoSysctl reports a setting that this kernel, or this network namespace,
// does not have.
var ErrNoSysctl = errors.New("no such kernel setting")

// ReadSysctl returns the present value of a setting.
func (r *Routing) ReadSysctl(name string) (string, error) {
	file, err := sysctlFile(name)
	if err != nil {
		return "", err
	}
	value, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w", name, ErrNoSysctl)
	}
	return strings.TrimSpace(string(value)), err
}

// SetSysctl sets a setting.
func (r *Routing) SetSysctl(_ context.Context, s plan.Sysctl) error {
	file, err := sysctlFile(s.Name)
	if err != nil {
		return err
	}
	// Without O_CREATE: /proc would answer "permission denied" to the attempt
	// to make a setting that it does not have.
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", s.Name, ErrNoSysctl)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(s.Value + "\n")
	return errors.Join(err, f.Close())
}

// ForwardOtherwise returns the forwarding settings of interfaces, and of new
// ones, that differ from that for all, whose name and prefix are given.
func (r *Routing) ForwardOtherwise(all, prefix string) ([]string, error) {
	common, err := r.ReadSysctl(all)
	if err != nil {
		return nil, err
	}
	folder, err := sysctlFile(strings.TrimSuffix(prefix, "."))
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var differ []string
	for _, e := range entries {
		name := prefix + sysctlPart(e.Name()) + ".forwarding"
		value, err := r.ReadSysctl(name)
		if err != nil && !errors.Is(err, ErrNoSysctl) { // its interface has just gone
			return nil, err
		}
		if err == nil && value != common && name != all {
			differ = append(differ, name)
		}
	}
	return differ, nil
}

// changeable reports whether this network namespace may change a setting. Where
// it may not, or where a container has /proc/sys read-only, nobody can.
func changeable(name string) (bool, error) {
	file, err := sysctlFile(name)
	if err != nil {
		return false, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return false, err
	}
	var mounted unix.Statfs_t
	if err := unix.Statfs(file, &mounted); err != nil {
		return false, os.NewSyscallError("statfs", err)
	}
	return info.Mode().Perm()&0o200 != 0 && mounted.Flags&unix.ST_RDONLY == 0, nil
}

// sysctlFile returns the file of a setting under /proc/sys/net. As for
// sysctl(8), "/" in a name stands for a dot inside one of its parts, such as
// an interface's name.
func sysctlFile(name string) (string, error) {
	parts := strings.Split(name, ".")
	if parts[0] != "net" || len(parts) < 3 {
		return "", fmt.Errorf("%q is not a setting of the network", name)
	}
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(p, "/", ".")
		if p == "" || parts[i] == "." || parts[i] == ".." {
			return "", fmt.Errorf("%q is not the name of a setting", name)
		}
	}
	return "/proc/sys/" + filepath.Join(parts...), nil
}

// sysctlPart spells an interface's name as a part of a setting's name.
func sysctlPart(name string) string { return strings.ReplaceAll(name, ".", "/") }
