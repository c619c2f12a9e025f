package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// release is one version being made.
type release struct {
	source  string // the sources
	out     string
	staging string // what is made on the way; gone at the end
	version string
	date    time.Time
	archs   []string
	formats []string
	ready   string // a gatelodge that need not be built
	foreign bool
	lab     bool

	binaries map[string]string // by name
	made     []string          // files in out
}

func newRelease(o order) (*release, error) {
	r := &release{archs: o.archs, formats: o.formats, foreign: o.foreign, lab: o.lab, binaries: map[string]string{}}
	var err error
	if r.out, err = filepath.Abs(o.out); err != nil {
		return nil, err
	}
	if r.source = o.source; r.source == "" {
		if r.source, err = findSource(); err != nil {
			return nil, err
		}
	}
	if r.ready = o.binary; r.ready != "" {
		if r.ready, err = filepath.Abs(r.ready); err != nil {
			return nil, err
		}
	}
	if r.date, err = releaseDate(r.source); err != nil {
		return nil, err
	}
	if r.version, err = releaseVersion(r.source, o.version, r.date); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return nil, err
	}
	r.staging, err = os.MkdirTemp("", "gatelodge-release-")
	return r, err
}

// make is the whole story: documents, binaries, packages, checksums.
func (r *release) make() error {
	if len(r.formats) > 0 {
		if err := r.stageDocuments(); err != nil {
			return err
		}
	}
	for _, name := range r.archs {
		if err := r.makeArch(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return r.writeSums()
}

func (r *release) makeArch(name string) error {
	if err := r.makeProgram(gatelodge, name); err != nil || !r.lab {
		return err
	}
	return r.makeProgram(laboratory, name)
}

// makeProgram makes the binary, its bill of materials, and its packages.
func (r *release) makeProgram(program program, name string) error {
	binary, err := r.binary(program.name, name)
	if err != nil {
		return err
	}
	r.made = append(r.made, filepath.Base(binary))
	if err := r.writeBill(binary); err != nil {
		return err
	}
	if len(r.formats) == 0 {
		return nil
	}
	p := parts{program: program, binary: binary, foreign: map[string]string{}}
	if p.licences, err = r.stageLicences(binary); err != nil {
		return err
	}
	if r.foreign && program.brings {
		for _, other := range foreignTo(name) {
			if p.foreign[other], err = r.compressed(other); err != nil {
				return err
			}
		}
	}
	for _, format := range r.formats {
		if err := r.pack(name, format, p); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

// writeSums writes SHA256SUMS, as sha256sum --check reads it.
func (r *release) writeSums() error {
	slices.Sort(r.made)
	var sums strings.Builder
	for _, name := range r.made {
		content, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), name)
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// writeCompressed writes what gzip -9n would: the bytes follow from the
// content alone.
func writeCompressed(file string, content []byte) error {
	var compressed bytes.Buffer
	z, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(content); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, compressed.Bytes(), 0o644)
}
