package netfilter

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
)

// Message is a request with nfnetlink's header: family, version 0, resource 0.
func Message(kind netlink.HeaderType, flags netlink.HeaderFlags, family byte, data []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | flags},
		Data:   append([]byte{family, 0, 0, 0}, data...),
	}
}

// EachAttribute goes through the attributes of all messages. The error is that
// of a message which cannot be read.
func EachAttribute(answers []netlink.Message, do func(*netlink.AttributeDecoder)) error {
	for _, a := range answers {
		d, err := attributes(a.Data)
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

// headerLength is the size of nfnetlink's header, in bytes.
const headerLength = 4

// attributes reads the attributes that follow nfnetlink's header.
func attributes(data []byte) (*netlink.AttributeDecoder, error) {
	if len(data) < headerLength {
		return nil, fmt.Errorf("netlink message of %d bytes, without header", len(data))
	}
	d, err := netlink.NewAttributeDecoder(data[headerLength:])
	if err != nil {
		return nil, err
	}
	d.ByteOrder = binary.BigEndian
	return d, nil
}
