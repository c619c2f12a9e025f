// Bench measures Gatelodge beside the plain set-up of the tutorials, which is
// wireguard-go, DNAT and masquerade, or with -beside next to another build of
// itself: same traffic, same hosts, same minutes.
//
// Each of the two stands in a lab of its own, a small internet in network
// namespaces, run by a process of its own. Nothing of one is on the hosts of
// the other, and yet each figure is taken of both within seconds, so that a
// machine that slows down slows down both. No traffic leaves the namespaces,
// and all is gone when the program ends, however it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// options are the flags of the command line.
type options struct {
	Binary  string        // gatelodge
	Beside  string        // another build of it, to be compared with; empty: the plain set-up
	Rounds  int           // how often both are set up and measured
	Window  time.Duration // of one measurement
	Whole   bool          // whether wires carry segments whole
	JSON    bool
	Worker  string // what to set up, in a worker; empty in the program itself
	PlainWG string // wireguard-go, in a worker
}

func parseFlags() options {
	var o options
	flag.StringVar(&o.Binary, "binary", "bin/gatelodge", "the program to measure")
	flag.StringVar(&o.Beside, "beside", "", "another build of the program to compare with, instead of the plain set-up")
	flag.IntVar(&o.Rounds, "rounds", 3, "how often each is set up and measured")
	flag.DurationVar(&o.Window, "window", 3*time.Second, "how long one measurement takes")
	flag.BoolVar(&o.Whole, "whole", false, "let wires carry segments of 64 KiB whole, which no real wire does")
	flag.BoolVar(&o.JSON, "json", false, "print the figures as JSON")
	flag.StringVar(&o.Worker, "worker", "", "for the program's own use")
	flag.StringVar(&o.PlainWG, "wireguard-go", "", "for the program's own use")
	flag.Parse()
	return o
}

func main() {
	lab.StandIn()
	o := parseFlags()
	run := runBench
	if o.Worker != "" {
		run = runWorker
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// roundTime bounds a round: each figure's window with what comes before and
// after it, twice, and both set-ups.
func (o options) roundTime() time.Duration {
	return time.Duration(2*len(figures))*(o.Window+2*time.Second) + 30*time.Second
}

func runBench(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	limit := time.Duration(o.Rounds) * o.roundTime()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %s", limit))
	defer cancel()
	o, remove, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	defer remove()
	r, err := measure(ctx, o)
	if ctx.Err() != nil {
		return fmt.Errorf("%w; the labs are gone", context.Cause(ctx))
	}
	if err != nil {
		return err
	}
	if o.JSON {
		return r.writeJSON(os.Stdout)
	}
	return r.writeText(os.Stdout)
}

// prepare looks for what the run needs, and builds wireguard-go.
func prepare(ctx context.Context, o options) (options, func(), error) {
	if o.Rounds < 1 || o.Window < 100*time.Millisecond {
		return o, nil, errors.New("too little to measure: at least 1 round, and windows of 100ms")
	}
	if err := lab.CheckPrerequisites(); err != nil {
		return o, nil, err
	}
	for _, binary := range []*string{&o.Binary, &o.Beside} {
		if *binary == "" {
			continue
		}
		var err error
		if *binary, err = filepath.Abs(*binary); err != nil {
			return o, nil, err
		}
		if _, err := os.Stat(*binary); err != nil {
			return o, nil, fmt.Errorf("no program to measure (make build): %w", err)
		}
	}
	if o.Beside != "" {
		return o, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "gatelodge-bench-")
	if err != nil {
		return o, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	o.PlainWG = filepath.Join(dir, "wireguard-go")
	if err := buildWireGuard(ctx, o.PlainWG); err != nil {
		remove()
		return o, nil, err
	}
	return o, remove, nil
}
