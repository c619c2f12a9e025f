// Package netfilter is the way to the kernel's netfilter: netlink to nf_tables
// and conntrack, and the programs that write rules. It knows no table of ours.
package netfilter

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// kernelTime bounds how long a connection to the kernel is used. The library
// waits for ever where a signal interrupts its sending.
const kernelTime = 15 * time.Second

// readBuffer is room for the answers that the kernel sends before we read the
// first, in bytes. It is wanted, not needed: a namespace without full rights
// caps it.
const readBuffer = 1 << 20

// MessageBuffer is room for one message, in bytes. The kernel fills the
// messages of a list as far as their reader has room, up to 32 KiB; and as it
// looks for the place where it stopped from the beginning of the set, few large
// ones cost it far less than many small ones.
const MessageBuffer = 64 << 10

// Dial opens a connection to netfilter in the network namespace of this thread.
// It can be used for 15 seconds, unless the deadline is set again.
func Dial() (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: MessageBuffer})
	if err != nil {
		return nil, fmt.Errorf("cannot open netlink to netfilter: %w", err)
	}
	if err := prepare(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Open opens a connection to nf_tables by the library that knows its parts, as
// Dial does. The caller closes it with CloseLasting.
func Open() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(prepare))
	if err != nil {
		return nil, fmt.Errorf("cannot open netlink to nf_tables: %w", err)
	}
	return conn, nil
}

func prepare(conn *netlink.Conn) error {
	_ = conn.SetReadBuffer(readBuffer)
	return conn.SetDeadline(time.Now().Add(kernelTime))
}
