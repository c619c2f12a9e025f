package netfilter

import (
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What is counted here is asked of the kernel without the netlink library of
// the rest: that takes every rule apart, and fails at expressions it does not
// know; and it needs seconds for the elements of a large map.

// CountRules returns the number of rules in each chain of a table that has any.
func CountRules(table string) (map[string]int, error) {
	answers, err := dump(unix.NFT_MSG_GETRULE, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_RULE_TABLE, table)
	})
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int)
	err = EachAttribute(answers, func(d *netlink.AttributeDecoder) {
		if d.Type() == unix.NFTA_RULE_CHAIN {
			counts[d.String()]++
		}
	})
	return counts, err
}

// CountElements returns the number of elements of a set, counted as
// nft(8) writes them: the kernel keeps the end of an interval as an element of
// its own.
func CountElements(table, set string) (int, error) {
	answers, err := dump(unix.NFT_MSG_GETSETELEM, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_SET_ELEM_LIST_TABLE, table)
		e.String(unix.NFTA_SET_ELEM_LIST_SET, set)
	})
	if err != nil {
		return 0, err
	}
	n := 0
	err = EachAttribute(answers, func(d *netlink.AttributeDecoder) {
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

// dump asks nf_tables for a list in the inet family.
func dump(kind netlink.HeaderType, which func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	conn, err := Dial()
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
	return conn.Execute(Message(unix.NFNL_SUBSYS_NFTABLES<<8|kind, netlink.Dump, unix.NFPROTO_INET, data))
}
