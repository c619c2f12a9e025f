package config

import (
	"fmt"

	"github.com/gatelodge/gatelodge/internal/words"
)

// suggest returns the hint that names which of the known words was likely
// meant, or "".
func suggest(word string, known []string) string {
	nearest := words.Nearest(word, known)
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", nearest)
}
