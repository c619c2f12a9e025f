package wireguard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// Probe finds out which kind of device this machine can have, and why it is
// not the kernel's. It makes an interface for a moment, and removes it: there
// is no other way to learn whether we may, and the kernel loads its module at
// the attempt.
func Probe(ctx context.Context) (kind plan.Kind, why string, err error) {
	if err := ctx.Err(); err != nil {
		return "", "", err
	}
	err = probeKernel()
	switch {
	case err == nil:
		return plan.Kernel, "", nil
	case errors.Is(err, ErrPrivilege):
		return "", "", err
	case errors.Is(err, ErrNoModule):
		why = "this kernel has no WireGuard"
	default:
		why = err.Error()
	}
	if err := probeTUN(); err != nil {
		return "", "", fmt.Errorf("%s, and %w", why, err)
	}
	return plan.Embedded, why, nil
}

// probeKernel reports why the kernel does not make WireGuard interfaces.
func probeKernel() error {
	name := "glprobe" + rand.Text()[:8] // all that fits in a name
	err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: name}})
	switch {
	case err == nil:
		return Remove(name)
	case errors.Is(err, unix.EPERM):
		return ErrPrivilege
	case errors.Is(err, unix.EOPNOTSUPP):
		return ErrNoModule
	default:
		return fmt.Errorf("the kernel makes no WireGuard interface: %w", err)
	}
}

// probeTUN reports why no TUN interface can be made. The one that it makes
// goes with its file; the kernel puts a free number into its name.
func probeTUN() error {
	fd, err := attachTUN("glprobe%d")
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
