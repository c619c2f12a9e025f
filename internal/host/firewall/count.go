package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What is counted here is asked of the kernel without the netlink library of
// the rest: that takes every rule apart, and fails at expressions it does not
// know; and it needs seconds for the elements of a large map.

// countRules returns the number of rules in each chain of a table that has any.
func countRules(table string) (map[string]int, error) {
	answers, err := dump(unix.NFT_MSG_GETRULE, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_RULE_TABLE, table)
	})
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int)
	err = eachAttribute(answers, func(d *netlink.AttributeDecoder) {
		if d.Type() == unix.NFTA_RULE_CHAIN {
			counts[d.String()]++
		}
	})
	return counts, err
}

// countElements counts as nft(8) writes: the kernel keeps the end of an
// interval as an element of its own.
func countElements(table, set string) (int, error) {
	answers, err := dump(unix.NFT_MSG_GETSETELEM, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_SET_ELEM_LIST_TABLE, table)
		e.String(unix.NFTA_SET_ELEM_LIST_SET, set)
	})
	if err != nil {
		return 0, err
	}
	n := 0
	err = eachAttribute(answers, func(d *netlink.AttributeDecoder) {
		if d.Type() == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			d.Nested(func(list *netlink.AttributeDecoder) error { return countStarts(list, &n) })
		}
	})
	return n, err
}

// countStarts adds to n the elements of a list that begin something.
func countStarts(list *netlink.AttributeDecoder, n *int) error {
	for list.Next() {
		var flags uint32
		list.Nested(func(element *netlink.AttributeDecoder) error {
			for element.Next() {
				if element.Type() == unix.NFTA_SET_ELEM_FLAGS {
					flags = element.Uint32()
				}
			}
			return element.Err()
		})
		if flags&unix.NFT_SET_ELEM_INTERVAL_END == 0 {
			*n++
		}
	}
	return list.Err()
}

// steadily repeats a read of several steps while somebody, of whatever table,
// has changed nf_tables meanwhile: the kernel would then skip entries. On a
// machine whose rules change without end it makes do with the last read.
func steadily(read func() error) error {
	const attempts = 5
	for range attempts {
		before, err := generation()
		if err != nil {
			return err
		}
		if err := read(); err != nil {
			return err
		}
		after, err := generation()
		if err != nil || before == after {
			return err
		}
	}
	return nil
}

// generation returns the number of the ruleset of this network namespace, which
// every transaction counts up.
func generation() (uint32, error) {
	conn, err := connectNetfilter()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	answers, err := conn.Execute(message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0, unix.AF_UNSPEC, nil))
	if err != nil {
		return 0, fmt.Errorf("cannot read the generation of nf_tables: %w", err)
	}
	var number uint32
	err = eachAttribute(answers, func(d *netlink.AttributeDecoder) {
		if d.Type() == unix.NFTA_GEN_ID {
			number = d.Uint32()
		}
	})
	return number, err
}

// dump asks nf_tables for a list in the inet family.
func dump(kind netlink.HeaderType, which func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	conn, err := connectNetfilter()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	e := netlink.NewAttributeEncoder()
	which(e)
	data, err := e.Encode()
	if err != nil {
		return nil, err
	}
	return conn.Execute(message(unix.NFNL_SUBSYS_NFTABLES<<8|kind, netlink.Dump, unix.NFPROTO_INET, data))
}

// messageBuffer is room for one message, in bytes. The kernel fills the
// messages of a list as far as their reader has room, up to 32 KiB; and as it
// looks for the place where it stopped from the beginning of the set, few large
// ones cost it far less than many small ones.
const messageBuffer = 64 << 10

// connectNetfilter opens a connection to netfilter in the network namespace of
// this thread. The socket's own buffer is wanted, not needed.
func connectNetfilter() (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: messageBuffer})
	if err != nil {
		return nil, fmt.Errorf("cannot open netlink to netfilter: %w", err)
	}
	_ = conn.SetReadBuffer(readBuffer)
	if err := conn.SetDeadline(time.Now().Add(kernelTime)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// message is a request with nfnetlink's header: family, version 0, resource 0.
func message(kind netlink.HeaderType, flags netlink.HeaderFlags, family byte, data []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | flags},
		Data:   append([]byte{family, 0, 0, 0}, data...),
	}
}

// eachAttribute goes through the attributes of all messages.
func eachAttribute(answers []netlink.Message, do func(*netlink.AttributeDecoder)) error {
	for _, a := range answers {
		d, err := messageDecoder(a.Data)
		if err != nil {
			return err
		}
		for d.Next() {
			do(d)
		}
		if err := d.Err(); err != nil {
			return err
		}
	}
	return nil
}

// messageDecoder reads the attributes behind nfnetlink's header.
func messageDecoder(data []byte) (*netlink.AttributeDecoder, error) {
	const header = 4
	if len(data) < header {
		return nil, fmt.Errorf("netlink message of %d bytes, without header", len(data))
	}
	d, err := netlink.NewAttributeDecoder(data[header:])
	if err != nil {
		return nil, err
	}
	d.ByteOrder = binary.BigEndian
	return d, nil
}
