package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/routing"
	"github.com/gatelodge/gatelodge/internal/host/sockets"
	"github.com/gatelodge/gatelodge/internal/host/wireguard"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Listener is a socket of this machine that waits for others.
type Listener = sockets.Listener

// Listeners returns what listens on this machine.
func Listeners() ([]Listener, error) { return sockets.Listeners() }

// SSHOnlyIn returns where this machine's sshd listens, if all those places are
// addresses of the given prefixes: nothing where it listens elsewhere too, or
// none is seen.
func SSHOnlyIn(listeners []Listener, tunnel []netip.Prefix) []netip.AddrPort {
	var inside []netip.AddrPort
	for _, l := range listeners {
		if l.Addr.IsLoopback() || !l.IsSSH() {
			continue
		}
		if !slices.ContainsFunc(tunnel, func(p netip.Prefix) bool { return p.Masked().Contains(l.Addr) }) {
			return nil
		}
		inside = append(inside, netip.AddrPortFrom(l.Addr, l.Port))
	}
	return inside
}

// NFT returns the version of nft(8) here, nothing if there is none. If it is too
// old, or missing, needed is the oldest that would do.
func NFT() (found, needed string, err error) {
	fw, err := firewall.Open()
	if errors.Is(err, firewall.ErrMissing) {
		return "", firewall.Oldest(), nil
	}
	if old, ok := errors.AsType[*firewall.VersionError](err); ok {
		return old.Found, old.Needed, nil
	}
	if err != nil {
		return "", "", err
	}
	return fw.Version(), "", nil
}

// KernelHasWireGuard reports whether the kernel would make a WireGuard
// interface now. It makes one for a moment.
func KernelHasWireGuard(ctx context.Context) (bool, error) {
	kind, _, err := wireguard.Probe(ctx)
	return kind == plan.Kernel, err
}

// Tracked returns how many connections this machine tracks, and how many it
// may at most; zeros where nothing tracks any.
func Tracked() (count, limit uint64, err error) {
	if count, err = readNumber("/proc/sys/net/netfilter/nf_conntrack_count"); err == nil {
		limit, err = readNumber("/proc/sys/net/netfilter/nf_conntrack_max")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	return count, limit, err
}

func readNumber(file string) (uint64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// Forwarding reports whether this machine passes IPv4 packets on.
func Forwarding() (bool, error) {
	value, err := readNumber("/proc/sys/net/ipv4/ip_forward")
	return value == 1, err
}

// NotForwarding returns which of some interfaces have their IPv4 packets not
// passed on. To switch ip_forward on sets them all, and each can be switched off
// again (ip-sysctl.rst, "forwarding").
func NotForwarding(names []string) ([]string, error) {
	var closed []string
	for _, name := range names {
		value, err := readNumber("/proc/sys/net/ipv4/conf/" + name + "/forwarding")
		if errors.Is(err, fs.ErrNotExist) {
			continue // no such interface: that is for others to say
		}
		if err != nil {
			return closed, err
		}
		if value == 0 {
			closed = append(closed, name)
		}
	}
	return closed, nil
}

// NoWay4 reports that this machine has no route to the internet by IPv4: then the
// kernel sends no answer of a UDP service to a visitor who has it.
func NoWay4() (bool, error) {
	// Connecting a UDP socket chooses the way, and sends nothing.
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if errors.Is(err, unix.ENETUNREACH) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, c.Close()
}

// PublicAddresses returns the addresses of this machine that the internet knows,
// on whatever interface but the tunnel's.
func PublicAddresses(tunnel string) ([]routing.AddressAt, error) {
	return routing.PublicAddresses(tunnel, plan.Routable)
}

// BoundListeners tells to which interfaces listeners are bound.
func BoundListeners() (sockets.Bound, error) { return sockets.BoundListeners() }

// KernelLacks returns the modules that our rules need and this kernel does not
// have.
func KernelLacks(ctx context.Context) ([]string, error) {
	fw, err := firewall.Open()
	if err != nil {
		return nil, err
	}
	return fw.Lacks(ctx)
}

// ReversePath returns the reverse path check in force on an interface: the
// larger of its own and that of all (rp_filter in ip-sysctl.rst).
func ReversePath(name string) (int, error) {
	all, err := readNumber("/proc/sys/net/ipv4/conf/all/rp_filter")
	if err != nil {
		return 0, err
	}
	own, err := readNumber("/proc/sys/net/ipv4/conf/" + name + "/rp_filter")
	if err != nil {
		return 0, err
	}
	return int(max(all, own)), nil
}

// Space is what is left on a file system.
type Space struct {
	FreeBytes  uint64 // for who is not root
	FreeFiles  uint64
	LimitFiles bool // whether the file system bounds the number of files
	ReadOnly   bool
}

// SpaceAt returns what is left on the file system of a folder.
func SpaceAt(folder string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return Space{}, fmt.Errorf("cannot look at the file system of %s: %w", folder, err)
	}
	return Space{
		FreeBytes: s.Bavail * uint64(s.Bsize), FreeFiles: s.Ffree,
		LimitFiles: s.Files > 0, ReadOnly: s.Flags&unix.ST_RDONLY != 0,
	}, nil
}

// UnansweredAt returns who has sent to a UDP port of this machine, lately, and
// got nothing back.
func UnansweredAt(port uint16) ([]netip.AddrPort, error) {
	return firewall.Unanswered(forward.UDP, port)
}

// LacksNFT reports whether an error says that nft(8) is missing or too old.
func LacksNFT(err error) bool {
	return errors.Is(err, firewall.ErrMissing) || errors.As(err, new(*firewall.VersionError))
}
