package config

import (
	"net/netip"

	"github.com/google/go-cmp/cmp"
)

// byValue lets go-cmp compare addresses by their value.
var byValue = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}
