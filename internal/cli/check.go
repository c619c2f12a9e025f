package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check the configuration file, and change nothing",
		Long: `Check reads gate.toml or home.toml and says all that is wrong with it, each
with its place and the way to mend it. A FILE named home.toml, or ending in
home.toml, is read as a home's; any other as a gate's.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.checkFile(args[0], roleOfFile(args[0]))
			}
			role, err := a.paths().Role()
			if err != nil {
				return err
			}
			return a.checkFile(a.paths().ConfigFile(role), role)
		},
	}
}

func (a *app) checkFile(file string, role plan.Role) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if role == plan.Gate {
		g, err := config.ParseGate(file, data)
		if err != nil {
			return err
		}
		a.printf("%s is in order: a gate, policy for %d homes of their own\n", file, len(g.Homes))
		return nil
	}
	h, err := config.ParseHome(file, data)
	if err != nil {
		return err
	}
	a.printf("%s is in order: a home, %d forwards\n", file, len(h.Forwards))
	return nil
}
