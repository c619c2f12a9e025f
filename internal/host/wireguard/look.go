package wireguard

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Look reports what this machine has for a device of ours, as far as that shows
// without making one: the kernel's WireGuard, and TUN. Neither is loaded by it.
func Look(ctx context.Context) (wireguard, tun bool) {
	return look(ctx, "/")
}

// look is Look below a root. The kernel asks for its modules by an alias, and
// one that is blacklisted is not loaded by it.
func look(ctx context.Context, root string) (wireguard, tun bool) {
	wireguard = exists(root, "sys/module/wireguard") || loadable(ctx, "rtnl-link-wireguard")
	// To open the device of a module that is not loaded would load it.
	if exists(root, "sys/class/misc/tun") {
		tun = opens(filepath.Join(root, "dev/net/tun"))
	} else {
		tun = exists(root, "dev/net/tun") && loadable(ctx, "tun")
	}
	return wireguard, tun
}

func exists(root, file string) bool {
	_, err := os.Stat(filepath.Join(root, file))
	return !errors.Is(err, fs.ErrNotExist)
}

// opens reports whether a device can be opened. A container may see one that it
// must not use.
func opens(file string) bool {
	fd, err := unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
	return err == nil && unix.Close(fd) == nil
}

// loadable asks modprobe(8), without doing it, whether the kernel would find a
// module by that name.
func loadable(ctx context.Context, name string) bool {
	out, err := exec.CommandContext(ctx, "modprobe", "--dry-run", "--verbose", name).Output()
	return err == nil && strings.TrimSpace(string(out)) != ""
}
