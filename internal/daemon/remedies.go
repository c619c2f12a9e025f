package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// Remedy lets packets of ours through another firewall of this machine.
type Remedy = host.Remedy

// Remedies returns the file that lists what the owner has agreed to in other
// firewalls. It lies where only root writes: commands that root runs follow from
// it, and the daemon has a user of its own.
func (p Paths) Remedies() string { return filepath.Join(p.Config(), "remedies.json") }

// agreed reads what the owner has agreed to.
func agreed(p Paths) ([]Remedy, error) {
	data, err := os.ReadFile(p.Remedies())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Remedy
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, unreadableRemedies(p, err)
	}
	for _, r := range list {
		if err := r.Check(); err != nil {
			return nil, unreadableRemedies(p, err)
		}
	}
	return list, nil
}

func unreadableRemedies(p Paths, err error) error {
	return fmt.Errorf("cannot read %s, which lists what other firewalls let through for gatelodge: %w; look there what is meant, take it back by hand, and remove the file", p.Remedies(), err)
}

// note writes down what is agreed to; a list of none is no file.
func note(p Paths, list []Remedy) error {
	step.At("remedies: before the list is written")
	if len(list) == 0 {
		err := os.Remove(p.Remedies())
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return store.WriteFile(p.Remedies(), append(data, '\n'))
}

// LetThrough carries remedies out, each noted before, so that Down takes back
// what a crash has left. One that fails is not kept; the others are. It needs
// root's rights, and returns in words what it did.
func LetThrough(ctx context.Context, p Paths, remedies []Remedy) ([]string, error) {
	list, err := agreed(p)
	if err != nil {
		return nil, err
	}
	var done []string
	var errs []error
	for _, r := range remedies {
		if !slices.Contains(list, r) {
			list = append(list, r)
		}
		if err := note(p, list); err != nil {
			return done, errors.Join(append(errs, err)...)
		}
		step.At("remedies: before", r.String())
		if err := r.Put(ctx); err != nil {
			list = slices.DeleteFunc(list, func(o Remedy) bool { return o == r })
			errs = append(errs, err, note(p, list))
			continue
		}
		done = append(done, r.String())
	}
	return done, errors.Join(errs...)
}

// takeBack undoes all that the owner has agreed to. What cannot be taken back
// stays on the list.
func takeBack(ctx context.Context, p Paths) ([]string, error) {
	list, err := agreed(p)
	if err != nil {
		return nil, err
	}
	var done []string
	var left []Remedy
	var errs []error
	for _, r := range list {
		step.At("remedies: before taking back", r.String())
		if err := r.TakeBack(ctx); err != nil {
			left, errs = append(left, r), append(errs, fmt.Errorf("cannot take back what another firewall lets through (%s): %w", r, err))
			continue
		}
		done = append(done, "took back: "+r.String())
	}
	if len(list) > 0 {
		errs = append(errs, note(p, left))
	}
	return done, errors.Join(errs...)
}
