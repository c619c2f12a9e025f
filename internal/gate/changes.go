package gate

import (
	"sync"

	"github.com/gatelodge/gatelodge/internal/registry"
)

// change is a change of the registry that somebody waits for.
type change struct {
	make func(*registry.State) error
	done chan error
}

// answer says how it went. The first answer counts.
func (c *change) answer(err error) {
	select {
	case c.done <- err:
	default:
	}
}

// changes are those that wait to be written down.
type changes struct {
	mu   sync.Mutex
	list []*change
}

// add reports whether the change is the first, and its maker to take them all.
func (q *changes) add(c *change) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, c)
	return len(q.list) == 1
}

func (q *changes) take() []*change {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}
