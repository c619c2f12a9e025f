// Package consent holds what the owner has agreed to in other firewalls of the
// machine: what keeps our packets from passing, and what lets them through,
// which is restored where it is forgotten, and undone in the end.
package consent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// Remedy lets packets of ours through another firewall of this machine.
type Remedy = host.Remedy

// Agreed reads what the owner has agreed to.
func Agreed(p layout.Paths) ([]Remedy, error) {
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

func unreadableRemedies(p layout.Paths, err error) error {
	return fmt.Errorf("cannot read %s, which lists what other firewalls let through for gatelodge: %w; see what it lists, undo that by hand, and remove the file", p.Remedies(), err)
}

// note writes down what is agreed to; a list of none is no file.
func note(p layout.Paths, list []Remedy) error {
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

// LetThrough carries remedies out, each given by its text, each noted before, so that Withdraw
// undoes what a crash has left. One that fails is not kept; the others are. It needs
// root's rights, and returns in words what it did.
func LetThrough(ctx context.Context, p layout.Paths, commands []string) ([]string, error) {
	remedies, err := parse(commands)
	if err != nil {
		return nil, err
	}
	list, err := Agreed(p)
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

// parse reads the texts of remedies: in one of their forms, no matter who wrote them.
func parse(commands []string) ([]Remedy, error) {
	var list []Remedy
	for _, c := range commands {
		r, ok := host.ParseRemedy(c)
		if !ok {
			return nil, fmt.Errorf("%q is not a command that lets our packets through another firewall", c)
		}
		list = append(list, r)
	}
	return list, nil
}

// Withdraw undoes all that the owner has agreed to. What cannot be undone
// stays on the list.
func Withdraw(ctx context.Context, p layout.Paths) ([]string, error) {
	list, err := Agreed(p)
	if err != nil {
		return nil, err
	}
	var done []string
	var left []Remedy
	var errs []error
	for _, r := range list {
		step.At("remedies: before undoing", r.String())
		if err := r.TakeBack(ctx); err != nil {
			left, errs = append(left, r), append(errs, fmt.Errorf("cannot undo what another firewall lets through (%s): %w", r, err))
			continue
		}
		done = append(done, "undid: "+r.String())
	}
	if len(list) > 0 {
		errs = append(errs, note(p, left))
	}
	return done, errors.Join(errs...)
}
