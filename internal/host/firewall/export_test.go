package firewall

import (
	"errors"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// Render returns the wanted table as a document for nft(8), for golden files.
func Render(want plan.Firewall) (string, error) {
	d, err := build(want)
	if err != nil {
		return "", err
	}
	return d.text(), nil
}

// Cover returns the blocks of numbers that DeleteForwards deletes, each with
// its first and last number.
func Cover(gone, living []uint32) [][2]uint32 {
	var blocks [][2]uint32
	for _, b := range cover(gone, living) {
		blocks = append(blocks, [2]uint32{b.first, b.first | ^b.mask})
	}
	return blocks
}

// MostWalks is how many blocks DeleteForwards deletes one by one.
const MostWalks = mostWalks

// Way says how Apply would make the wanted table: "nothing", "netlink", "nft"
// for the difference alone, or "whole".
func (f *Firewall) Way(want plan.Firewall) (string, error) {
	d, err := f.build(want)
	if err != nil {
		return "", err
	}
	change, ok := f.difference(d)
	if !ok {
		return "whole", nil
	}
	if f.known.Load().document.mark() == d.mark() {
		return "nothing", nil
	}
	if _, err = change.messages(); errors.Is(err, errNeedsNft) {
		return "nft", nil
	}
	return "netlink", err
}
