package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// envProgram makes this test binary behave as the program itself: the lab
// starts it as gates and homes.
const envProgram = "GATELODGE_TEST_PROGRAM"

// envListen makes it a service at that address, whatever it is called: it says to
// everybody what it is, until its standard input ends.
const envListen = "GATELODGE_TEST_LISTEN"

func listen(at string) error {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, gatesOwn)
			_ = c.Close()
		}
	}()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestMain(m *testing.M) {
	lab.StandIn()
	if at := os.Getenv(envListen); at != "" {
		if err := listen(at); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
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
