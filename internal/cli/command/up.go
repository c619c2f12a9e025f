package command

import (
	"context"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/view"
)

// Up starts the daemon, and shows what has come of it.
func (a *App) Up(ctx context.Context) (status.Report, error) {
	r, ran, err := a.Instance().Up(ctx)
	switch {
	case err != nil:
		return r, err
	case ran:
		a.Printf("already running\n")
		return r, nil
	case !r.Works():
		a.noteTrouble(r)
		return r, nil
	case r.Input == nil || r.Input.State != status.Unconfirmed:
		a.PrintReport(r)
		return r, nil
	}
	return a.tryInput(ctx)
}

// PrintReport shows a report to a person.
func (a *App) PrintReport(r status.Report) { a.PrintLines(view.Report(r, time.Now(), a.Style())) }

// noteTrouble says why a daemon that runs has no tunnel yet, as far as it knows.
func (a *App) noteTrouble(r status.Report) {
	for _, problem := range r.Problems {
		a.Notef("%s", problem)
	}
	if len(r.Problems) == 0 && r.Role == string(forward.Home) {
		a.Notef("the gate has not answered yet")
	}
	a.Notef("running, but without a tunnel so far; it keeps trying: gatelodge status")
}

// tryInput puts an input policy on trial that a start alone does not bring into
// force: nobody has confirmed it yet.
func (a *App) tryInput(ctx context.Context) (status.Report, error) {
	applied, err := a.Client().Apply(ctx, local.ApplyRequest{})
	if err != nil {
		return applied.Report, err
	}
	a.PrintReport(applied.Report)
	return applied.Report, a.ShowTrial(ctx, applied.Report.Input)
}
