package config

import "fmt"

// suggest returns the hint that names which of the known words was likely
// meant, or "".
func suggest(word string, known []string) string {
	// A third of the letters may be wrong; more than that is another word.
	best, nearest := max(1, len(word)/3)+1, ""
	if len(word) > maxSuggest {
		return ""
	}
	for _, k := range known {
		if n := distance(word, k); n < best {
			best, nearest = n, k
		}
	}
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", nearest)
}

// maxSuggest bounds the work on words that nobody mistyped.
const maxSuggest = 60

// distance counts the letters to change, add, take away or swap with their
// neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	var before []int // the row before the previous one
	previous, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(previous[j]+1, row[j-1]+1, previous[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, previous, row = previous, row, make([]int, len(b)+1)
	}
	return previous[len(b)]
}
