// Gatelodge makes a server at home reachable from the internet through a cheap
// VPS, with its visitors' own addresses.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
