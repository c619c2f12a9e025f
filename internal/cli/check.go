package cli

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
)

func checkCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check the configuration file, and change nothing",
		Long: `Check reads gate.toml or home.toml and lists everything that is wrong with
it, each with its place and how to fix it. A FILE whose name ends in home.toml is
read as a home's; any other as a gate's.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return checkFile(a, args[0], roleOfFile(args[0]))
			}
			role, err := a.paths().Role()
			if err != nil {
				return err
			}
			return checkFile(a, a.paths().ConfigFile(role), role)
		},
	}
	a.jsonFlag(c, "print what the file holds as JSON")
	return c
}

func checkFile(a *app, file string, role forward.Role) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if role == forward.Gate {
		g, err := config.ParseGate(file, data)
		if err != nil {
			return err
		}
		a.printf("%s is in order: a gate with policies for %s\n", file, counted(len(g.Homes), "home", "homes"))
		return a.answer(checked{file, role, 0, len(g.Homes)})
	}
	h, err := config.ParseHome(file, data)
	if err != nil {
		return err
	}
	a.printf("%s is in order: a home, %s\n", file, counted(len(h.Forwards), "forward", "forwards"))
	return a.answer(checked{file, role, len(h.Forwards), 0})
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
