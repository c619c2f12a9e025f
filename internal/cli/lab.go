package cli

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/sibling"
)

// labProgram is the program that the lab is, so that the product need not
// carry it. It runs the gatelodge that envLabProgram names.
const (
	labProgram    = "gatelodge-lab"
	envLabProgram = "GATELODGE_LAB_PROGRAM"
)

func newLabCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lab",
		Short: "Everything on this one machine, in network namespaces",
		Long: `Lab runs gatelodge-lab, a program of its own, with the arguments that follow:
"gatelodge lab --help" tells what it can do. Lab looks for it beside this program
and in PATH; it comes in the package gatelodge-lab.`,
		DisableFlagParsing: true,
		ValidArgs:          []string{"shell", "status", "down"}, // for completions
		RunE:               func(_ *cobra.Command, args []string) error { return handOver(args) },
	}
}

// handOver replaces this process by the lab, so that signals and the exit code
// are the lab's own. It returns only if it cannot.
func handOver(args []string) error {
	program, err := sibling.Find(labProgram)
	if errors.Is(err, sibling.ErrNone) {
		return command.Fail(command.ExitFailed, "install the package gatelodge-lab, or put the program of that name beside this one",
			"the lab is a program of its own, and it is missing: %w", err)
	}
	if err == nil {
		err = become(program, args)
	}
	return command.Fail(command.ExitFailed, "", "cannot run the lab: %w", err)
}

// become replaces this process by the lab's program, which runs this very file
// as its gate and homes. It returns only if it cannot.
func become(program string, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Setenv(envLabProgram, self); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", program, syscall.Exec(program, append([]string{labProgram}, args...), os.Environ()))
}
