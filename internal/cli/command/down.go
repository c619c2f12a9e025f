package command

import (
	"context"
	"errors"

	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Deeds is the answer of a command that does things, in words.
type Deeds struct {
	Done []string `json:"done"`
}

// PrintDone shows what was done, a line each.
func (a *App) PrintDone(done []string) {
	for _, d := range done {
		a.Printf("  %s\n", d)
	}
}

// Down stops the daemon and restores the machine; it returns in words what it did.
func (a *App) Down(ctx context.Context) ([]string, error) {
	r, statusErr := a.Client().Status(ctx)
	comesBack, err := a.Instance().Stop(ctx)
	if err != nil {
		return nil, err
	}
	if statusErr == nil && r.Input != nil && r.Input.State == status.OnTrial {
		a.Notef("the input policy that waited for confirmation is reverted; to try it again: gatelodge up")
	}
	o, err := a.Options(ctx)
	if err != nil {
		return nil, err
	}
	done, err := daemon.Down(ctx, o)
	a.PrintDone(done)
	if err != nil {
		return done, err
	}
	if len(done) == 0 {
		a.Printf("nothing was set up\n")
	}
	if comesBack {
		a.Notef("it starts again when this machine boots; to prevent that: systemctl disable gatelodge")
	}
	return done, nil
}

// DownIfRole brings down what may be up; a machine without a role has nothing.
func (a *App) DownIfRole(ctx context.Context) ([]string, error) {
	_, err := a.Paths().Role()
	if errors.Is(err, layout.ErrNoRole) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return a.Down(ctx)
}
