// Gatelodge-lab shows Gatelodge at work on this one machine: a small internet
// in network namespaces, with gatelodge itself as its gate and homes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/command"
)

func main() {
	lab.StandIn()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
