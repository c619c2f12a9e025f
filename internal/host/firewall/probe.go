package firewall

import (
	"context"
	"errors"
	"fmt"
)

// Version returns the version of nft(8) in use.
func (f *Firewall) Version() string { return f.version.String() }

// Oldest returns the oldest version of nft(8) that will do.
func Oldest() string { return oldest.String() }

// Present reports whether a table of ours of that name stands. The error
// wraps ErrForeign if one of that name is not ours.
func (f *Firewall) Present(_ context.Context, table string) (bool, error) {
	loaded, err := readTable(table)
	return loaded.present, err
}

// needs are what our rules use that a kernel may be built without, each as the
// module that brings it and as the smallest chain with it.
var needs = []struct{ module, chain string }{
	{"nft_ct", "type filter hook input priority 0\nct state new"},
	{"nft_fib_inet", "type filter hook prerouting priority -300\nfib saddr type local"},
	{"nft_chain_nat", "type nat hook prerouting priority -100"},
	{"nft_nat", "type nat hook prerouting priority -100\ndnat ip to 192.0.2.1"},
	{"nft_masq", "type nat hook postrouting priority 100\nmasquerade"},
	{"nft_limit", "type filter hook input priority 0\nlimit rate 1/second"},
	{"nft_connlimit", "type filter hook input priority 0\nct count over 1"},
	{"nft_hash", "type filter hook input priority 0\njhash ip saddr mod 2 0"},
	{"nft_numgen", "type filter hook input priority 0\nnumgen random mod 16 0"},
	{"nft_reject_inet", "type filter hook output priority 0\nreject with icmpx type admin-prohibited"},
}

// Lacks returns the modules that our rules need and this kernel does not have.
// Where it takes no rules at all, nothing can be told, which is an error.
func (f *Firewall) Lacks(ctx context.Context) ([]string, error) {
	try := func(chain string) error {
		return f.load(ctx, fmt.Sprintf("table inet gatelodge_lacks {\nchain c {\n%s\n}\n}\n", chain), "--check")
	}
	if err := try("type filter hook input priority 0"); err != nil {
		return nil, fmt.Errorf("the kernel takes no rules at all: %w", err)
	}
	var lacks []string
	for _, n := range needs {
		err := try(n.chain)
		if refused := new(ScriptError); errors.As(err, &refused) {
			lacks = append(lacks, n.module)
		} else if err != nil {
			return lacks, err
		}
	}
	return lacks, nil
}
