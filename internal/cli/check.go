package cli

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
)

func checkCommand(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check the configuration file, and change nothing",
		Long: `Check reads gate.toml or home.toml and lists everything that is wrong with
it, each with its place and how to fix it. A FILE whose name ends in home.toml is
read as a home's; any other as a gate's.`,
		Args: command.Some(0, 1, ""),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return checkFile(a, args[0], roleOfFile(args[0]))
			}
			role, err := a.Paths().Role()
			if err != nil {
				return err
			}
			return checkFile(a, a.Paths().ConfigFile(role), role)
		},
	}
	a.JSONFlag(c, "print what the file holds as JSON")
	return c
}

func checkFile(a *command.App, file string, role forward.Role) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return command.Fail(command.ExitFailed, "", "there is no file %s", file)
	}
	if err != nil {
		return err
	}
	if role == forward.Gate {
		g, err := config.ParseGate(file, data)
		if err != nil {
			return err
		}
		a.Printf("%s is in order: a gate with policies for %s\n", file, command.Counted(len(g.Homes), "home", "homes"))
		return a.Answer(checked{file, role, 0, len(g.Homes)})
	}
	h, err := config.ParseHome(file, data)
	if err != nil {
		return err
	}
	a.Printf("%s is in order: a home, %s\n", file, command.Counted(len(h.Forwards), "forward", "forwards"))
	return a.Answer(checked{file, role, len(h.Forwards), 0})
}

// checked is the answer of check about a file that is in order.
type checked struct {
	File     string       `json:"file"`
	Role     forward.Role `json:"role"`
	Forwards int          `json:"forwards"`
	Homes    int          `json:"homes"`
}

// roleOfFile finds out by its name what a file is for.
func roleOfFile(file string) forward.Role {
	if strings.HasSuffix(file, "home.toml") {
		return forward.Home
	}
	return forward.Gate
}
