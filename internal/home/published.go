package home

import (
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/membership"
)

// endpoints returns where the gate may be, as HOST:PORT: as the owner says,
// or else as the invite said.
func (l *link) endpoints() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return listed(l.config, l.memory.Joined)
}

// listed returns the endpoints by a configuration, of a gate that was joined.
func listed(c config.Home, j *membership.Membership) []string {
	if len(c.Gate.Endpoints) > 0 {
		return c.Gate.Endpoints
	}
	return j.Endpoints
}

// published returns what the gate has to know of our forwards.
func (l *link) published() []forward.Published {
	l.mu.Lock()
	defer l.mu.Unlock()
	return publishedOf(l.config.Forwards)
}

func publishedOf(forwards []forward.Forward) []forward.Published {
	list := make([]forward.Published, len(forwards))
	for i, f := range forwards {
		list[i] = f.Published()
	}
	return list
}
