package command

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/standing"
)

func shellCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "shell HOST [COMMAND...]",
		Short:   "Run a command, or a shell, on a host of the running lab",
		Example: "  gatelodge lab shell visitor\n  gatelodge lab shell home -- gatelodge status",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := lab.CheckPrerequisites(); err != nil {
				return err
			}
			s, err := standingLab()
			if err != nil {
				return err
			}
			host, command := args[0], args[1:]
			if len(command) > 0 && command[0] == "--" {
				command = command[1:]
			}
			return s.Exec(host, command)
		},
	}
	c.Flags().SetInterspersed(false) // what follows HOST are the command's own
	return c
}

func statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the running lab and its hosts",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := standingLab()
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(s)
			}
			return s.WriteText(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the running lab",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			place, err := standing.FindPlace()
			if err != nil {
				return err
			}
			release, err := place.Lock()
			if err != nil {
				return err
			}
			s, err := place.Load()
			if err == nil {
				err = s.Down(c.Context())
			}
			none := errors.Is(err, standing.ErrNone)
			if none || err == nil {
				err = place.Remove()
			}
			if err := errors.Join(err, release()); err != nil {
				return err
			}
			said := "the lab is gone"
			if none {
				said = "no lab is running"
			}
			fmt.Fprintln(c.OutOrStdout(), said)
			return nil
		},
	}
}

// standingLab is the lab that --keep has left.
func standingLab() (standing.Lab, error) {
	place, err := standing.FindPlace()
	if err != nil {
		return standing.Lab{}, err
	}
	s, err := place.Load()
	if errors.Is(err, standing.ErrNone) {
		err = fail("gatelodge lab --keep", "%w", err)
	}
	return s, err
}
