package cli

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/terminal"
	"github.com/gatelodge/gatelodge/internal/view"
)

// watchInterval is how often --watch asks again.
const watchInterval = 2 * time.Second

// watchStatus shows how things stand until somebody has seen enough: on the whole
// terminal, or, where there is none, once for each change.
func watchStatus(ctx context.Context, a *command.App) (err error) {
	first, err := report(ctx, a)
	if err != nil {
		return err
	}
	if !terminal.Is(a.Out) {
		return logStatus(ctx, a, first)
	}
	screen, err := terminal.OpenScreen(a.In, a.Out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, screen.Close()) }()
	return drawStatus(ctx, a, screen, first)
}

func drawStatus(ctx context.Context, a *command.App, screen *terminal.Screen, r status.Report) error {
	ends := "Ctrl-C ends"
	if screen.HasKeys() {
		ends = "q or Ctrl-C ends"
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		_, rows := terminal.Size(a.Out)
		if err := screen.Draw(view.Screen(r, time.Now(), a.Style(), rows, ends)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case key := <-screen.Keys():
			if key == 'q' || key == 'Q' {
				return nil
			}
			continue
		case <-screen.Resized():
			continue
		case <-tick.C:
		}
		next, err := report(ctx, a)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		r = next
	}
}

// logStatus prints a dated report for each change, until nobody reads it.
func logStatus(ctx context.Context, a *command.App, r status.Report) error {
	var last *status.Report
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		if now := r.Standing(); last == nil || !reflect.DeepEqual(*last, now) {
			a.Printf("--- %s\n", time.Now().Format(time.DateTime))
			a.PrintReport(r)
			last = &now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if terminal.HasLeft(a.Out) {
			return nil
		}
		next, err := report(ctx, a)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		r = next
	}
}
