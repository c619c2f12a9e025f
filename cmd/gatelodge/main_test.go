package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// envProgram makes this test binary behave as the program itself: the lab
// and the scripts start it as gates and homes.
const envProgram = "GATELODGE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		main()
	}
	if os.Getenv(netns.EnvInside) == "" || !isScriptCommand() {
		status, outside, err := netns.Enter()
		if err != nil {
			fmt.Fprintln(os.Stderr, "netns:", err)
			os.Exit(1)
		}
		if outside {
			os.Exit(status)
		}
	}
	testscript.Main(m, map[string]func(){"gatelodge": main})
}

// isScriptCommand tells whether testscript runs this binary as a command of a
// script: inside the namespaces already, and under the command's name.
func isScriptCommand() bool {
	return len(os.Args) > 0 && len(os.Args[0]) >= 9 && os.Args[0][len(os.Args[0])-9:] == "gatelodge"
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: false,
		Setup: func(e *testscript.Env) error {
			e.Setenv(netns.EnvInside, os.Getenv(netns.EnvInside))
			return nil
		},
	})
}
