package firewall

import "context"

// Version returns the version of nft(8) in use.
func (f *Firewall) Version() string { return f.version.String() }

// Present reports whether a table of ours of that name stands. The error
// wraps ErrForeign if one of that name is not ours.
func (f *Firewall) Present(_ context.Context, table string) (bool, error) {
	loaded, err := readTable(table)
	return loaded.present, err
}
