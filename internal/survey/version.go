package survey

import (
	"slices"
	"strconv"
	"strings"
)

// older reports whether one version is older than another, by their leading
// numbers. What has none is not called old.
func older(version, than string) bool {
	a, b := numbers(version), numbers(than)
	if len(a) == 0 {
		return false
	}
	return slices.Compare(a, b) < 0
}

func numbers(version string) []int {
	var list []int
	for part := range strings.SplitSeq(strings.TrimPrefix(version, "v"), ".") {
		digits := part[:len(part)-len(strings.TrimLeft(part, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if err != nil {
			break
		}
		list = append(list, n)
		if digits != part {
			break
		}
	}
	return list
}
