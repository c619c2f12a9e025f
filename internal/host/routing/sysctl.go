package routing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// ErrNoSysctl reports a setting that this kernel, or this network namespace,
// does not have.
var ErrNoSysctl = errors.New("no such kernel setting")

// ErrFixedSysctl reports settings that are needed and cannot be changed.
var ErrFixedSysctl = errors.New("the kernel's settings are read-only here, as in a container; set where it is started (for Docker: --sysctl NAME=VALUE)")

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

// observeSysctls returns the present values of wanted settings, but of those that
// are not there.
func (r *Routing) observeSysctls(wanted []plan.Sysctl) ([]plan.Sysctl, error) {
	var observed []plan.Sysctl
	for _, s := range wanted {
		value, err := r.observeSysctl(s)
		if errors.Is(err, ErrNoSysctl) {
			continue
		}
		if err != nil {
			return nil, err
		}
		observed = append(observed, plan.Sysctl{Name: s.Name, Value: value})
	}
	return observed, nil
}

// observeSysctl returns the present value of a wanted setting. One that cannot be
// changed and does no harm as it is counts as the wanted one.
func (r *Routing) observeSysctl(s plan.Sysctl) (string, error) {
	value, err := r.ReadSysctl(s.Name)
	if err != nil && !errors.Is(err, ErrNoSysctl) || err == nil && value == s.Value {
		return value, err
	}
	fine, fixedErr := r.fixedButFine(s)
	switch {
	case fixedErr != nil:
		return "", fixedErr
	case fine:
		return s.Value, nil
	}
	return value, err
}

// fixedButFine reports whether a setting cannot be changed and needs not to be.
// That of an interface which is not there yet will be the default one.
func (r *Routing) fixedButFine(s plan.Sysctl) (bool, error) {
	if can, err := changeableHere(s.Name); err != nil || can {
		return false, err
	}
	value, err := r.ReadSysctl(s.Name)
	if errors.Is(err, ErrNoSysctl) {
		value, err = r.ReadSysctl(ofInterface(s.Name, "default"))
	}
	if err != nil {
		return false, ignoreMissing(err)
	}
	if !strings.HasSuffix(s.Name, ".rp_filter") || s.Value != "2" {
		return value == s.Value, nil
	}
	// The larger of the two counts (ip-sysctl.rst), and 0 checks nothing.
	all, err := r.ReadSysctl(ofInterface(s.Name, "all"))
	return max(all, value) != "1", err
}

// ofInterface names the same setting of another interface.
func ofInterface(setting, name string) string {
	parts := strings.Split(setting, ".")
	if i := slices.Index(parts, "conf"); i >= 0 && i+1 < len(parts) {
		parts[i+1] = sysctlPart(name)
	}
	return strings.Join(parts, ".")
}

// changeableHere is changeable, also for a setting that is not there yet.
func changeableHere(name string) (bool, error) {
	can, err := changeable(name)
	if errors.Is(err, fs.ErrNotExist) {
		return changeable("net.ipv4.ip_forward")
	}
	return can, err
}

// CheckSysctls returns an error if a change is among these that cannot be made,
// before anything else has been changed in vain.
func (r *Routing) CheckSysctls(changes []plan.Step) error {
	var fixed []string
	for _, c := range changes {
		set, ok := c.(plan.SetSysctl)
		if !ok {
			continue
		}
		can, err := changeableHere(set.Sysctl.Name)
		if err != nil {
			return err
		}
		if !can {
			fixed = append(fixed, startedWith(r, set.Sysctl))
		}
	}
	if len(fixed) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrFixedSysctl, strings.Join(fixed, " "))
}

// startedWith is the setting as a container can be started with it: that of new
// interfaces, if its own is not there yet.
func startedWith(r *Routing, s plan.Sysctl) string {
	if _, err := r.ReadSysctl(s.Name); errors.Is(err, ErrNoSysctl) {
		s.Name = ofInterface(s.Name, "default")
	}
	return s.Name + "=" + s.Value
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
