package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// programs are what the lab runs, and the Debian packages they come in.
var programs = []struct{ name, debian string }{
	{"nft", "nftables"},
	{"ip", "iproute2"},
	{"nsenter", "util-linux"},
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
	var errs []error
	for _, p := range programs {
		if _, err := exec.LookPath(p.name); err != nil {
			errs = append(errs, fmt.Errorf("the lab needs %s(8): apt install %s", p.name, p.debian))
		}
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("the lab needs /dev/net/tun, for WireGuard in a process (modprobe tun; in a container, pass the device through): %w", err))...)
	}
	return errors.Join(append(errs, tun.Close())...)
}
