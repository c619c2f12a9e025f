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
