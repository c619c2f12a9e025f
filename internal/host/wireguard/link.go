package wireguard

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/step"
)

// findOurs returns the interface of that name, nil if there is none. It
// refuses one that is neither WireGuard's nor a TUN interface.
func findOurs(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look at interface %s: %w", name, err)
	}
	if kindOf(link) == "" {
		return nil, fmt.Errorf("%s is an interface of type %s: %w", name, link.Type(), ErrTaken)
	}
	return link, nil
}

// kindOf returns the kind of device that an interface is, "" if it is none.
func kindOf(link netlink.Link) plan.Kind {
	switch l := link.(type) {
	case *netlink.Wireguard:
		return plan.Kernel
	case *netlink.Tuntap:
		if l.Mode == netlink.TUNTAP_MODE_TUN {
			return plan.Embedded
		}
	}
	return ""
}

// clearWay removes an interface of ours that is of another kind: the machine
// has got or lost its module since, or the configuration has changed. It
// reports whether one of the wanted kind stands.
func clearWay(name string, kind plan.Kind) (stands bool, err error) {
	link, err := findOurs(name)
	if link == nil || err != nil {
		return false, err
	}
	if kindOf(link) == kind {
		return true, nil
	}
	return false, Remove(name)
}

// makeKernelLink makes the kernel's WireGuard interface where there is none.
func makeKernelLink(name string, mtu int) error {
	stands, err := clearWay(name, plan.Kernel)
	if stands || err != nil {
		return err
	}
	err = netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu}})
	if errors.Is(err, unix.EPERM) {
		return ErrPrivilege
	}
	if err != nil {
		return fmt.Errorf("cannot make WireGuard interface %s: %w", name, err)
	}
	step.At("wireguard: interface made")
	return nil
}

// openTUN makes the TUN interface, or takes over the one that an earlier
// process has left. It outlives this process, so that addresses and routes
// stay.
func openTUN(name string) (*os.File, error) {
	if _, err := clearWay(name, plan.Embedded); err != nil {
		return nil, err
	}
	fd, err := attachTUN(name)
	if err != nil {
		return nil, err
	}
	return settleTUN(fd, name)
}

// settleTUN makes an open TUN interface one that outlives this process, and
// takes over its descriptor.
func settleTUN(fd int, name string) (*os.File, error) {
	step.At("wireguard: TUN interface open")
	err := os.NewSyscallError("TUNSETPERSIST", unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
	step.At("wireguard: TUN interface stays")
	if err == nil {
		err = withoutLinkLocal(name)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true) // os.File then waits without a thread
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make TUN interface %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// adoptTUN takes over the TUN interface that is open as a file inherited from
// a process before us, and closes that file. It refuses one of another name,
// and one that has been deleted.
func adoptTUN(inherited *os.File, name string) (*os.File, error) {
	fd, err := duplicate(inherited)
	if err = errors.Join(err, inherited.Close()); err != nil {
		return nil, err
	}
	if err := checkTUN(fd, name); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return settleTUN(fd, name)
}

// duplicate returns another descriptor of an open file. Package os decides how
// to read a file when it is given the descriptor, and the one inherited may be
// set to block.
func duplicate(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	controlErr := raw.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(controlErr, os.NewSyscallError("fcntl", err))
}

// checkTUN reports why a file is not the TUN interface of that name.
func checkTUN(fd int, name string) error {
	is, err := unix.NewIfreq("")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, is); errors.Is(err, unix.EBADFD) {
		return errors.New("the interface has been deleted")
	} else if err != nil {
		return os.NewSyscallError("TUNGETIFF", err)
	}
	const needed = unix.IFF_TUN | unix.IFF_NO_PI
	if is.Name() != name || is.Uint16()&needed != needed {
		return fmt.Errorf("it is interface %s and not the TUN interface %s", is.Name(), name)
	}
	return nil
}

// attachTUN opens a TUN interface, making it where there is none; without
// TUNSETPERSIST it goes with its file. The flags are those that wireguard-go
// expects: IFF_VNET_HDR for segmentation offload.
func attachTUN(name string) (fd int, err error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("%q cannot be the name of an interface: %w", name, err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("%w (%w)", ErrNoTUN, err)
	}
	switch err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request); {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.EPERM):
		err = ErrPrivilege
	case errors.Is(err, unix.EBUSY):
		err = fmt.Errorf("another process holds interface %s: %w", name, err)
	default:
		err = fmt.Errorf("cannot make TUN interface %s: %w", name, err)
	}
	return 0, errors.Join(err, unix.Close(fd))
}

// withoutLinkLocal keeps the TUN interface from having a link-local address,
// for which it would send router solicitations through the tunnel; the
// kernel's WireGuard interface has none either. Where there is no IPv6, there
// is nothing to prevent.
func withoutLinkLocal(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	const none = 1 // IN6_ADDR_GEN_MODE_NONE (linux/if_link.h)
	_ = netlink.LinkSetIP6AddrGenMode(link, none)
	return nil
}

// Remove deletes the interface of either kind; one that is gone is no error.
func Remove(name string) error {
	link, err := findOurs(name)
	if link == nil || err != nil {
		return err
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot remove interface %s: %w", name, err)
	}
	return nil
}
