package main

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// envProgram makes this test binary behave as the program itself: the lab
// starts it as gates and homes.
const envProgram = "GATELODGE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		main()
	}
	status, outside, err := netns.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "netns:", err)
		os.Exit(1)
	}
	if outside {
		os.Exit(status)
	}
	// Labs mostly wait: more of them than processors run at once.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testscript.Main(m, map[string]func(){"gatelodge": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv(netns.EnvInside, os.Getenv(netns.EnvInside))
			return nil
		},
	})
}
