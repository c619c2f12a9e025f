package firewall

import (
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// What linux/netfilter/nfnetlink_conntrack.h calls the same, less the prefixes.
const (
	ctaStatus       = 3
	ctaIPv4Src      = 1
	ctaIPv6Src      = 3
	ctaProtoSrcPort = 2

	seenReply = 1 << 1 // IPS_SEEN_REPLY in nf_conntrack_common.h
)

// Unanswered returns who has sent to a port of this machine and got nothing
// back, as long as conntrack remembers: half a minute for UDP.
func Unanswered(protocol forward.Protocol, port uint16) ([]netip.AddrPort, error) {
	conn, err := connectNetfilter()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answers, err := conn.Execute(message(ctGet, netlink.Dump, unix.AF_UNSPEC, nil))
	if err != nil {
		return nil, fmt.Errorf("cannot list connections: %w", err)
	}
	var sources []netip.AddrPort
	for _, m := range answers {
		c, err := parseCall(m.Data)
		if err != nil {
			return nil, err
		}
		if c.protocol == protocol && c.to == port && !c.answered && c.from.IsValid() {
			sources = append(sources, c.from)
		}
	}
	return sources, nil
}

// call is who has called which port, and whether there was an answer.
type call struct {
	protocol forward.Protocol
	from     netip.AddrPort
	to       uint16
	answered bool
}

func parseCall(data []byte) (call, error) {
	d, err := messageDecoder(data)
	if err != nil {
		return call{}, err
	}
	var c call
	for d.Next() {
		switch d.Type() {
		case ctaTupleOrig:
			d.Nested(c.parseTuple)
		case ctaStatus:
			c.answered = d.Uint32()&seenReply != 0
		}
	}
	return c, d.Err()
}

func (c *call) parseTuple(d *netlink.AttributeDecoder) error {
	var addr netip.Addr
	var port uint16
	for d.Next() {
		switch d.Type() {
		case ctaTupleIP:
			d.Nested(func(ip *netlink.AttributeDecoder) error {
				for ip.Next() {
					if t := ip.Type(); t == ctaIPv4Src || t == ctaIPv6Src {
						addr, _ = netip.AddrFromSlice(ip.Bytes()) // else the zero Addr, which is nobody's
					}
				}
				return ip.Err()
			})
		case ctaTupleProto:
			d.Nested(func(proto *netlink.AttributeDecoder) error {
				for proto.Next() {
					switch proto.Type() {
					case ctaProtoNum:
						c.protocol = forward.Protocol(proto.Uint8())
					case ctaProtoSrcPort:
						port = proto.Uint16()
					case ctaProtoDstPort:
						c.to = proto.Uint16()
					}
				}
				return proto.Err()
			})
		}
	}
	c.from = netip.AddrPortFrom(addr, port)
	return d.Err()
}
