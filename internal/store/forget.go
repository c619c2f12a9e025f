package store

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/gatelodge/gatelodge/internal/step"
)

// Forget removes what was saved under name, with its copy. The copy goes first: until
// the file itself is gone, Load returns what it held.
func (s *Store) Forget(name string) error {
	file, err := fileName(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range []string{file + copySuffix, file} {
		if err := s.files.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove %s: %w", s.path(f), explain(err))
		}
		step.At("store: forgotten", f)
	}
	delete(s.written, file)
	return s.files.Sync()
}
