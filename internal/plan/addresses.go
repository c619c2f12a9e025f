package plan

import (
	"net/netip"
	"slices"
)

// Valid returns the addresses of a list that are set, in a list of its own.
func Valid(list ...netip.Addr) []netip.Addr {
	return slices.DeleteFunc(list, func(a netip.Addr) bool { return !a.IsValid() })
}
