package main

import (
	"bytes"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// likeWires has the cables of the lab carry frames as a wire does, of the MTU
// and not larger, and their receivers put segments together again. By itself
// veth hands over segments of 64 KiB whole, which flatters everything that
// costs something per packet.
func likeWires(l *lab.Lab) error {
	for _, h := range l.Hosts() {
		ns, err := netns.Open(h.Name)
		if err != nil {
			return err
		}
		if err := ns.Do(cutSegments); err != nil {
			return fmt.Errorf("on %s: %w", h.Name, err)
		}
	}
	return nil
}

// wireFeatures are the names, as ethtool(8) has them, of what is switched.
var wireFeatures = map[string]bool{
	"tx-tcp-segmentation":          false,
	"tx-tcp-ecn-segmentation":      false,
	"tx-tcp-mangleid-segmentation": false,
	"tx-tcp6-segmentation":         false,
	"tx-udp-segmentation":          false,
	"rx-gro":                       true,
}

// cutSegments does so for the cables of the namespace it is called in.
func cutSegments() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		if link.Type() != "veth" {
			continue
		}
		if err := setFeatures(link.Attrs().Name, wireFeatures); err != nil {
			return fmt.Errorf("offloads of %s: %w", link.Attrs().Name, err)
		}
	}
	return nil
}

// The requests of linux/ethtool.h, for as many features as there may ever be.
const (
	featureBlocks = 8
	maxFeatures   = 32 * featureBlocks
	featureSet    = 4 // ETH_SS_FEATURES
)

type ethtoolStrings struct {
	command, set, count uint32
	names               [maxFeatures][32]byte
}

type ethtoolCount struct {
	command, _ uint32
	mask       uint64
	count      [2]uint32
}

type ethtoolFeatures struct {
	command, blocks uint32
	block           [featureBlocks]struct{ valid, requested uint32 }
}

// setFeatures switches features of a link. The kernel counts them, and which
// number a feature has differs from one kernel to the next.
func setFeatures(link string, wanted map[string]bool) error {
	count := &ethtoolCount{command: unix.ETHTOOL_GSSET_INFO, mask: 1 << featureSet}
	if err := ethtool(link, unsafe.Pointer(count)); err != nil {
		return err
	}
	n := int(count.count[0])
	if n > maxFeatures {
		return fmt.Errorf("%d features are more than this program knows to handle", n)
	}
	list := &ethtoolStrings{command: unix.ETHTOOL_GSTRINGS, set: featureSet, count: uint32(n)}
	if err := ethtool(link, unsafe.Pointer(list)); err != nil {
		return err
	}
	set := &ethtoolFeatures{command: unix.ETHTOOL_SFEATURES, blocks: uint32(n+31) / 32}
	for i, name := range list.names[:n] {
		on, ok := wanted[string(bytes.TrimRight(name[:], "\x00"))]
		if !ok {
			continue
		}
		set.block[i/32].valid |= 1 << (i % 32)
		if on {
			set.block[i/32].requested |= 1 << (i % 32)
		}
	}
	return ethtool(link, unsafe.Pointer(set))
}

// ethtool makes a request to a link's driver.
func ethtool(link string, request unsafe.Pointer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifreq := struct { // struct ifreq
		name    [unix.IFNAMSIZ]byte
		request unsafe.Pointer
		_       [16]byte
	}{request: request}
	copy(ifreq.name[:unix.IFNAMSIZ-1], link)
	// What is pointed to must not move, which it would on the stack.
	var pin runtime.Pinner
	pin.Pin(request)
	defer pin.Unpin()
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifreq)))
	if errno != 0 {
		return errno
	}
	return nil
}
