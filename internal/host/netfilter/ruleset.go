package netfilter

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Ruleset says when one looks at the tables of a network namespace: two that are
// equal mean that nobody has changed anything in between.
type Ruleset struct {
	namespace  uint64
	Generation uint32 // which every transaction counts up
}

// Next is after one more transaction.
func (r Ruleset) Next() Ruleset {
	r.Generation++
	if r.Generation == 0 {
		r.Generation++ // as nf_tables_commit does
	}
	return r
}

// ReadRuleset returns that of the network namespace of this thread.
func ReadRuleset() (Ruleset, error) {
	conn, err := Dial()
	if err != nil {
		return Ruleset{}, err
	}
	defer conn.Close()
	var r Ruleset
	if r.Generation, err = generation(conn); err == nil {
		r.namespace, err = namespaceOf(conn)
	}
	return r, err
}

// namespaceOf returns a number that no other network namespace has, or before
// Linux 5.14 none that exists.
func namespaceOf(conn *netlink.Conn) (uint64, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cookie uint64
	var optionErr error
	err = raw.Control(func(fd uintptr) {
		cookie, optionErr = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	})
	if err != nil || optionErr == nil {
		return cookie, err
	}
	info, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return 0, err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino, nil
	}
	return 0, errors.New("a network namespace without a number")
}

// Transact carries out all messages or none of them, and only where nothing has
// changed since on was read. There must be a message.
func Transact(conn *netlink.Conn, on Ruleset, messages []netlink.Message) error {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Uint32(unix.NFNL_BATCH_GENID, on.Generation)
	data, err := e.Encode()
	if err != nil {
		return err
	}
	// As nfnetlink's header has it, a batch is a subsystem's for its resource.
	subsystem := []byte{0, 0, 0, unix.NFNL_SUBSYS_NFTABLES}
	end := netlink.Message{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request}, Data: subsystem}
	begin := netlink.Message{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: append(subsystem[:4:4], data...)}
	// The kernel answers for what it refuses, and for the last one.
	messages[len(messages)-1].Header.Flags |= netlink.Acknowledge
	batch := append(append([]netlink.Message{begin}, messages...), end)
	size := 0
	for _, m := range batch {
		size += unix.NLMSG_HDRLEN + len(m.Data) + unix.NLMSG_ALIGNTO
	}
	if err := conn.SetWriteBuffer(2*size + readBuffer); err != nil { // all goes in one piece
		return err
	}
	if _, err := conn.SendMessages(batch); err != nil {
		return err
	}
	_, err = conn.Receive()
	return err
}
