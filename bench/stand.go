package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// port is the one that is published, over TCP and UDP.
const port = 7500

// stand is a lab with one of the two set up in it.
type stand struct {
	lab     *lab.Lab
	visitor *netns.Namespace
	to      netip.AddrPort // what visitors dial
	window  time.Duration
	gate    int // process number of what holds the tunnel at the gate
	home    int // and at home
	ended   []func()
	// received counts the bytes that have arrived where a transfer goes to.
	received atomic.Int64
}

// setUp makes gate and home of the lab's hosts, and fills in their processes.
type setUp func(context.Context, *stand, options) (values, error)

// newStand makes a lab, and the set-up in it. The stand is returned even with
// an error if there is something to close.
func newStand(ctx context.Context, o options) (*stand, values, error) {
	make, known := map[string]setUp{kindGatelodge: setUpGatelodge, kindBeside: setUpGatelodge, kindPlain: setUpPlain}[o.Worker]
	if !known {
		return nil, nil, fmt.Errorf("nothing to measure is called %q", o.Worker)
	}
	l, err := lab.New(ctx, lab.Options{Binary: o.Binary})
	if err != nil {
		return nil, nil, err
	}
	s := &stand{lab: l, to: netip.AddrPortFrom(l.Gate().IPv4, port), window: o.Window}
	if s.visitor, err = netns.Open(l.Visitor().Name); err != nil {
		return s, nil, err
	}
	if !o.Whole {
		if err := likeWires(l); err != nil {
			return s, nil, err
		}
	}
	if err := s.startService(); err != nil {
		return s, nil, err
	}
	v, err := make(ctx, s, o)
	if err != nil {
		return s, nil, fmt.Errorf("%w%s", err, s.logs())
	}
	return s, v, s.addIdle(ctx, v)
}

// addIdle adds the memory of both ends before they have had anything to do.
func (s *stand) addIdle(ctx context.Context, v values) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Second):
	}
	var err error
	v["gate-idle"], v["home-idle"], err = s.memory("VmRSS")
	return err
}

// awaitAnswer waits until a visitor is answered.
func (s *stand) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		err := s.visit(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no visitor is answered: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// logs is what the daemons of gate and home have said last.
func (s *stand) logs() string {
	var text strings.Builder
	for _, h := range []*lab.Host{s.lab.Gate(), s.lab.Home()} {
		for _, line := range h.LogTail(10) {
			fmt.Fprintf(&text, "\n%s: %s", h.Name, line)
		}
	}
	return text.String()
}

// close takes everything down. What fails no longer matters: the
// namespaces end with the process.
func (s *stand) close() {
	for i := len(s.ended) - 1; i >= 0; i-- {
		s.ended[i]()
	}
	_ = s.lab.Close()
}

// take takes a figure. Why it could not is told to the one who asks.
func (s *stand) take(ctx context.Context, key string) reply {
	err := errors.New("there is no such figure")
	var v values
	for _, f := range figures {
		if f.key == key {
			v, err = f.take(ctx, s)
		}
	}
	if err == nil {
		return reply{Values: v}
	}
	return reply{Error: err.Error() + s.logs()}
}
