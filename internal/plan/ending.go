package plan

import (
	"fmt"
	"strings"
)

// Ending is a published forward, or a part of it, that a change ends, with the
// connections that pass through it.
type Ending struct {
	Forward string   `json:"forward"`
	Home    string   `json:"home"`
	Ports   []string `json:"ports"`
	// Over is the family that ends alone; empty: all of it does.
	Over   string `json:"over,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// String says in a line what ends, and why.
func (e Ending) String() string {
	text := fmt.Sprintf("this ends %s of home %q", e.Forward, e.Home)
	if e.Over != "" {
		text += " over " + e.Over
	}
	text += ": " + strings.Join(e.Ports, " ")
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return text
}
