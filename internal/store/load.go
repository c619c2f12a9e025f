package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Loaded says how a Load went.
type Loaded struct {
	Found bool // false: nothing was ever saved under that name
	// Warning is what the owner must know although the value is there.
	Warning string
}

// DamagedError means that a value and its copy are both unusable. Nothing has
// been overwritten.
type DamagedError struct {
	Path string // of the value; the copy is beside it
	Err  error
}

// Error implements error.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("cannot use %s (%v) nor its copy %s%s; restore one of them from a backup, or move both away to start over", e.Path, e.Err, e.Path, copySuffix)
}

// Unwrap returns what is wrong with the value itself.
func (e *DamagedError) Unwrap() error { return e.Err }

// NewerError means that a value was written by a newer program, which this
// one must not overwrite.
type NewerError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *NewerError) Error() string { return fmt.Sprintf("cannot use %s: %v", e.Path, e.Err) }

// Unwrap returns the details.
func (e *NewerError) Unwrap() error { return e.Err }

// Load fills into from the value saved under name. If the file is damaged it
// is set aside and the copy is used, and Warning says so.
func (s *Store) Load(name string, into any) (Loaded, error) {
	file, err := fileName(name)
	if err != nil {
		return Loaded{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	body, mainErr := s.read(file)
	if mainErr == nil {
		return Loaded{Found: true}, s.decode(file, body, into)
	}
	if !errors.Is(mainErr, errDamaged) && !errors.Is(mainErr, fs.ErrNotExist) {
		return Loaded{}, s.failed(file, mainErr)
	}
	body, copyErr := s.read(file + copySuffix)
	switch {
	case copyErr == nil:
		if err := s.decode(file+copySuffix, body, into); err != nil {
			return Loaded{}, err
		}
		return Loaded{Found: true, Warning: s.repair(file, mainErr)}, nil
	case errors.Is(mainErr, fs.ErrNotExist) && errors.Is(copyErr, fs.ErrNotExist):
		return Loaded{}, nil
	case errors.Is(copyErr, errDamaged), errors.Is(copyErr, fs.ErrNotExist):
		return Loaded{}, &DamagedError{Path: s.path(file), Err: mainErr}
	default:
		return Loaded{}, s.failed(file+copySuffix, copyErr)
	}
}

// read returns a file's verified body.
func (s *Store) read(file string) (json.RawMessage, error) {
	content, err := s.files.Read(file)
	if errors.Is(err, errTooLarge) {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	return open(content)
}

func (s *Store) decode(file string, body json.RawMessage, into any) error {
	if err := decode(body, into); err != nil {
		return s.failed(file, err)
	}
	return nil
}

func (s *Store) failed(file string, err error) error {
	if errors.Is(err, errNewer) {
		return &NewerError{Path: s.path(file), Err: err}
	}
	return fmt.Errorf("cannot read %s: %w", s.path(file), explain(err))
}

// repair puts the copy in the place of an unusable file and returns what to
// tell the owner. The value has been read already, so that a disk that takes
// no writes is a part of the warning and no error.
func (s *Store) repair(file string, cause error) string {
	warning := fmt.Sprintf("%s is missing; its copy %s%s was used", s.path(file), file, copySuffix)
	var err error
	if errors.Is(cause, errDamaged) {
		var aside string
		aside, err = s.setAside(file)
		warning = fmt.Sprintf("%s was %v; its last good copy was used", s.path(file), cause)
		if err == nil {
			warning += ", and the damaged file is now " + aside
		}
	}
	if err == nil {
		err = s.restore(file)
	}
	if err != nil {
		warning += fmt.Sprintf("; it could not be repaired: %v", explain(err))
	}
	return warning
}

func (s *Store) restore(file string) error {
	content, err := s.files.Read(file + copySuffix)
	if err != nil {
		return err
	}
	temporary, err := s.create(file, content)
	if err != nil {
		return err
	}
	if err := s.files.Rename(temporary, file); err != nil {
		return errors.Join(err, s.files.Remove(temporary))
	}
	return s.files.Sync()
}

// maxAside bounds the search for a free name.
const maxAside = 1000

// setAside renames a damaged file to the first free name.damaged-N, so that
// its owner can still look into it.
func (s *Store) setAside(file string) (string, error) {
	for n := 1; n <= maxAside; n++ {
		aside := fmt.Sprintf("%s.damaged-%d", file, n)
		if _, err := s.files.Read(aside); errors.Is(err, fs.ErrNotExist) {
			return aside, s.files.Rename(file, aside)
		}
	}
	return "", fmt.Errorf("there are %d damaged files beside %s already; move them away", maxAside, s.path(file))
}

func (s *Store) path(file string) string { return filepath.Join(s.dir, file) }
