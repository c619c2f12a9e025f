package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// missingPrograms reports which programs the lab runs cannot be found, and
// the Debian packages they come in.
func missingPrograms(look func(name string) (string, error)) error {
	var errs []error
	for _, p := range []struct{ name, debian string }{{"nft", "nftables"}, {"ip", "iproute2"}, {"nsenter", "util-linux"}} {
		if _, err := look(p.name); err != nil {
			errs = append(errs, fmt.Errorf("the lab needs %s(8): apt install %s", p.name, p.debian))
		}
	}
	return errors.Join(errs...)
}

// CheckPrerequisites reports all that the lab needs and this machine lacks. It
// also adds to PATH the folders that Debian keeps from users' PATH, where
// these programs lie.
func CheckPrerequisites() error {
	path := strings.Split(os.Getenv("PATH"), ":")
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if !slices.Contains(path, dir) {
			path = append(path, dir)
		}
	}
	if err := os.Setenv("PATH", strings.Join(path, ":")); err != nil {
		return err
	}
	missing := missingPrograms(exec.LookPath)
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return errors.Join(missing, fmt.Errorf("the lab needs /dev/net/tun, for WireGuard in a process (modprobe tun; in a container, pass the device through): %w", err))
	}
	return errors.Join(missing, tun.Close())
}
