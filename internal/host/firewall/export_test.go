package firewall

import "github.com/gatelodge/gatelodge/internal/plan"

// Render returns the wanted table as a document for nft(8), for golden files.
func Render(want plan.Firewall) (string, error) {
	d, err := build(want)
	if err != nil {
		return "", err
	}
	return d.text(), nil
}
