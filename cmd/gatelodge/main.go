// Gatelodge makes a server at home reachable from the internet through a cheap
// VPS, with its visitors' own addresses.
package main

import (
	"os"

	"github.com/gatelodge/gatelodge/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
