package store

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
)

// temporaryMark is in the name of every file that is not finished.
const temporaryMark = ".new-"

// Save stores v under name. When it returns nil, v survives a power cut. When
// it returns an error, or does not return at all, the store holds either the
// value before or v, whole; after an error because the disk is full, the value
// before.
func (s *Store) Save(name string, v any) error {
	file, err := fileName(name)
	if err != nil {
		return err
	}
	content, err := seal(v)
	if err != nil {
		return fmt.Errorf("cannot save %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.protect(file); err != nil {
		return err
	}
	if err := s.replace(file, content); err != nil {
		return fmt.Errorf("cannot save %s: %w", s.path(file), explain(err))
	}
	if s.written == nil {
		s.written = make(map[string][sha256.Size]byte)
	}
	s.written[file] = sha256.Sum256(content)
	return nil
}

// protect keeps what must not be overwritten: the file of a newer program,
// and a damaged one that somebody may still want to look into. What we have
// written ourselves is neither.
func (s *Store) protect(file string) error {
	content, err := s.files.Read(file)
	if sum, ours := s.written[file]; err == nil && ours && sum == sha256.Sum256(content) {
		return nil
	}
	_, err = s.read(file)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, errDamaged):
		if _, err = s.setAside(file); err == nil {
			return nil
		}
	}
	return s.failed(file, err)
}

// replace writes the value and its copy aside first. Only when both are on
// the disk, and so nothing can fail for lack of space any longer, do they take
// their names. Each name leads to a whole value at every moment, also when
// the disk forgets some of the renames: of the two, one may then be older.
func (s *Store) replace(file string, content []byte) error {
	main, err := s.create(file, content)
	if err != nil {
		return err
	}
	last, err := s.create(file+copySuffix, content)
	if err != nil {
		return errors.Join(err, s.files.Remove(main))
	}
	if err := s.files.Rename(main, file); err != nil {
		return errors.Join(err, s.files.Remove(main), s.files.Remove(last))
	}
	if err := s.files.Rename(last, file+copySuffix); err != nil {
		return errors.Join(err, s.files.Remove(last))
	}
	return s.files.Sync()
}

// create writes a finished but still nameless file and returns its temporary
// name. It leaves nothing behind when it fails.
func (s *Store) create(file string, content []byte) (string, error) {
	temporary := file + temporaryMark + rand.Text()
	err := s.files.Create(temporary, content)
	if err == nil {
		return temporary, nil
	}
	if rest := s.files.Remove(temporary); rest != nil && !errors.Is(rest, fs.ErrNotExist) {
		err = errors.Join(err, rest)
	}
	return "", err
}
