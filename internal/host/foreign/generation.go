package foreign

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Generation returns the number of the kernel's ruleset (NFT_MSG_GETGEN in
// linux/netfilter/nf_tables.h): another one after each change, by whomever.
func Generation() (uint32, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("cannot ask the kernel for its rules: %w", err)
	}
	defer conn.Close()
	answers, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return 0, fmt.Errorf("cannot ask the kernel for the number of its ruleset: %w", err)
	}
	const head = 4 // struct nfgenmsg
	for _, a := range answers {
		if len(a.Data) < head {
			continue
		}
		attributes, err := netlink.UnmarshalAttributes(a.Data[head:])
		if err != nil {
			return 0, fmt.Errorf("the kernel's answer: %w", err)
		}
		for _, at := range attributes {
			if at.Type == unix.NFTA_GEN_ID && len(at.Data) == 4 {
				return uint32(at.Data[0])<<24 | uint32(at.Data[1])<<16 | uint32(at.Data[2])<<8 | uint32(at.Data[3]), nil
			}
		}
	}
	return 0, errors.New("the kernel does not say the number of its ruleset")
}
