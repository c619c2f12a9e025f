// Package command is what all commands share: the instance that they are about,
// their voice and exit codes, and how a daemon is brought up and down.
package command

import (
	"context"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/edit"
	"github.com/gatelodge/gatelodge/internal/instance"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/terminal"
)

// App is one command line at work: the instance that it is about, and whom it
// talks to.
type App struct {
	Root    string // prefix of all paths
	Version string // of this program
	In      io.Reader
	Out     io.Writer
	ErrOut  io.Writer
	// AsJSON has all that is printed be JSON, errors too.
	AsJSON bool
}

// Paths returns where everything of this instance lies.
func (a *App) Paths() layout.Paths { return layout.Paths{Root: a.Root} }

// Client returns what speaks to this instance's daemon.
func (a *App) Client() *local.Client { return a.Instance().Client() }

// Instance returns the instance that the command is about.
func (a *App) Instance() instance.Instance {
	return instance.Instance{Paths: a.Paths(), Note: func(text string) { a.Notef("%s", text) }}
}

// Editor returns what changes the owner's file.
func (a *App) Editor() edit.Editor {
	return edit.Editor{Paths: a.Paths(), Daemon: a.Client(), Waits: func(holder string) { a.Notef("waiting for %s", holder) }}
}

// Options are what the daemon's parts need to know that a command carries out
// itself.
func (a *App) Options(ctx context.Context) (daemon.Options, error) {
	owner, err := a.Instance().Owner(ctx)
	return daemon.Options{Paths: a.Paths(), Version: a.Version, Log: a.Logger(), Owner: owner}, err
}

// JSONFlag gives a command --json.
func (a *App) JSONFlag(c *cobra.Command, usage string) {
	c.Flags().BoolVar(&a.AsJSON, "json", false, usage)
}

// Logger writes for people on a terminal, and plain fields elsewhere.
func (a *App) Logger() *slog.Logger {
	if terminal.Is(a.ErrOut) {
		return slog.New(terminal.NewLog(a.ErrOut))
	}
	return slog.New(slog.NewTextHandler(a.ErrOut, nil))
}
