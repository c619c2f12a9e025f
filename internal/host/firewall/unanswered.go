package firewall

import (
	"fmt"
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// Unanswered returns who has sent to a port of this machine and got nothing
// back, as long as conntrack remembers: half a minute for UDP.
func Unanswered(protocol forward.Protocol, port uint16) ([]netip.AddrPort, error) {
	conn, err := netfilter.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var sources []netip.AddrPort
	err = netfilter.EachFlow(conn, 0, 0, func(f netfilter.Flow) {
		if f.Port == single(protocol, port) && !f.Answered && f.Src.IsValid() {
			sources = append(sources, netip.AddrPortFrom(f.Src, f.From))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list connections: %w", err)
	}
	return sources, nil
}
