package words

import "strings"

// Nearest returns which of the known words was likely meant by a mistyped one; "" if
// none is near.
func Nearest(word string, known []string) string {
	// A third of the letters may be wrong; more than that is another word.
	best, nearest := max(1, len(word)/3)+1, ""
	if len(word) > maxNearest {
		return ""
	}
	for _, k := range known {
		if len(word) > 2 && strings.HasPrefix(k, word) {
			return k // not typed to its end
		}
		if n := distance(word, k); n < best {
			best, nearest = n, k
		}
	}
	return nearest
}

// maxNearest bounds the work on words that nobody mistyped.
const maxNearest = 60

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
