// Package examine gathers evidence for the doctor: what this machine is like, each
// part looked at beside the others, within a time, and none keeping the others.
package examine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/consent"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Notebook takes down what is looked at from several goroutines.
type Notebook struct {
	mu   sync.Mutex
	side *doctor.Side
	wait sync.WaitGroup
}

// Time bounds all of an examination, on one side.
const Time = 12 * time.Second

// Begin returns a notebook about one side. Nobody else touches that until Wait
// returns.
func Begin(side *doctor.Side) *Notebook { return &Notebook{side: side} }

// Wait returns once all parts have ended.
func (n *Notebook) Wait() { n.wait.Wait() }

// Look runs a part of an examination beside the others. What it returns is
// written down under the notebook's lock; what fails is said, and no more.
func (n *Notebook) Look(what string, part func() (write func(*doctor.Side), err error)) {
	n.wait.Go(func() {
		write, err := part()
		n.mu.Lock()
		defer n.mu.Unlock()
		if err != nil {
			n.side.Unseen = append(n.side.Unseen, fmt.Sprintf("%s could not be looked at: %v", what, err))
		}
		if write != nil {
			write(n.side)
		}
	})
}

// Machine looks at what every machine has, with or without a daemon.
func (n *Notebook) Machine(folders []string, tunnel string) {
	n.Look("nft", func() (func(*doctor.Side), error) {
		found, needed, err := host.NFT()
		return func(s *doctor.Side) {
			s.Machine.NFT, s.Machine.NFTNeeded, s.Machine.NFTTooOld = found, needed, needed != ""
		}, err
	})
	n.Look("the disk", func() (func(*doctor.Side), error) {
		var disks []doctor.Disk
		var errs []error
		for _, folder := range folders {
			space, err := host.SpaceAt(folder)
			errs = append(errs, err)
			if err == nil {
				disks = append(disks, doctor.Disk{Path: folder, FreeBytes: space.FreeBytes, FreeFiles: space.FreeFiles, LimitFiles: space.LimitFiles, ReadOnly: space.ReadOnly})
			}
		}
		return func(s *doctor.Side) { s.Machine.Disks = disks }, errors.Join(errs...)
	})
	n.Look("the connection table", func() (func(*doctor.Side), error) {
		count, limit, err := host.Tracked()
		return func(s *doctor.Side) { s.Machine.Conntrack = doctor.Conntrack{Count: count, Max: limit} }, err
	})
	n.Look("forwarding", func() (func(*doctor.Side), error) {
		on, err := host.Forwarding()
		return func(s *doctor.Side) { s.Machine.Forwarding.On = on }, err
	})
	n.Look("the reverse path check", func() (func(*doctor.Side), error) {
		check, err := host.ReversePath(tunnel)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil // no such interface: that is for others to say
		}
		return func(s *doctor.Side) { s.Machine.ReversePath = check }, err
	})
}

// Others reads what the other firewalls of this machine would do to what
// ours lets through. What could be read counts, also where the rest could not.
func (n *Notebook) Others(ctx context.Context, want plan.State, facts plan.Facts) {
	n.Look("other firewalls", func() (func(*doctor.Side), error) {
		found, err := host.OthersDrops(ctx, want, facts)
		return func(s *doctor.Side) { s.Drops = consent.Drops(found) }, err
	})
	n.Look("iptables-legacy", func() (func(*doctor.Side), error) {
		tables, err := host.LegacyTables()
		return func(s *doctor.Side) { s.Machine.Legacy = tables }, err
	})
}

// Seen is how this machine compares with what it should be.
type Seen struct {
	Drift    []doctor.Drift
	MTU      int // of the tunnel, in bytes
	IPv6     bool
	Problems []string
	// Forwarding says that packets have to pass here.
	Forwarding bool
}

// State compares this machine with what it should be, as look does.
func (n *Notebook) State(look func() (Seen, error)) {
	n.Look("the wanted state", func() (func(*doctor.Side), error) {
		seen, err := look()
		return func(s *doctor.Side) {
			s.Machine.StateUnseen = seen.MTU == 0 && (err != nil || len(seen.Problems) > 0)
			s.Machine.Drift = seen.Drift
			s.Machine.Forwarding.Needed = seen.Forwarding
			s.Machine.IPv6, s.Tunnel.MTU = seen.IPv6, seen.MTU
		}, errors.Join(err, joinTexts(seen.Problems))
	})
}

// Device looks whether the kernel has a WireGuard of its own, where that was left
// to us.
func (n *Notebook) Device(ctx context.Context, kind plan.Kind, automatic bool) {
	n.Look("the kernel's WireGuard", func() (func(*doctor.Side), error) {
		has := kind == plan.Kernel
		var err error
		if !has && automatic {
			has, err = host.KernelHasWireGuard(ctx)
		}
		return func(s *doctor.Side) {
			s.Machine.Device, s.Machine.Automatic, s.Machine.KernelHas = string(kind), automatic, has
		}, err
	})
}

// Failure finds out why the daemon's last round has failed: what it needs may
// not be there.
func (n *Notebook) Failure(ctx context.Context, failed string) {
	n.Look("the kernel's settings", func() (func(*doctor.Side), error) {
		space, err := host.SpaceAt("/proc/sys/net")
		return func(s *doctor.Side) { s.Machine.Failed, s.Machine.Sealed = failed, space.ReadOnly }, err
	})
	if failed == "" {
		return
	}
	n.Look("what the kernel has for our rules", func() (func(*doctor.Side), error) {
		lacks, err := host.KernelLacks(ctx)
		return func(s *doctor.Side) { s.Machine.Lacks = lacks }, err
	})
}

// Forwarding finds interfaces whose packets are not passed on.
func (n *Notebook) Forwarding(names []string) {
	n.Look("forwarding of interfaces", func() (func(*doctor.Side), error) {
		closed, err := host.NotForwarding(names)
		return func(s *doctor.Side) { s.Machine.NotPassing = closed }, err
	})
}

func joinTexts(texts []string) error {
	var errs []error
	for _, t := range texts {
		errs = append(errs, errors.New(t))
	}
	return errors.Join(errs...)
}

// DriftOf tells a judge of a change that is due.
func DriftOf(c plan.Change) doctor.Drift {
	d := doctor.Drift{Text: c.String()}
	if name, is := strings.CutPrefix(c.Subject, plan.SysctlSubject); is {
		d.Sysctl = name
	}
	return d
}

// Overlap tells a judge of networks that mean the tunnel's addresses.
func Overlap(tunnel []netip.Prefix, facts plan.Facts) *doctor.Overlap {
	for _, p := range tunnel {
		if n, is := plan.Overlap(p, facts); is {
			return &doctor.Overlap{Tunnel: p, Network: n.Prefix, Interface: n.Interface}
		}
	}
	return nil
}

// probeTime is how long a probe waits: what takes longer does not work.
const probeTime = 2500 * time.Millisecond

// MaxProbes bounds how many ports are tried.
const MaxProbes = 64

// outcome judges how the dialling of a probe ended.
func outcome(err error) doctor.Result {
	switch {
	case err == nil:
		return doctor.Open
	case errors.Is(err, syscall.ECONNREFUSED):
		return doctor.Closed
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return doctor.Unreachable
	default:
		return doctor.TimedOut
	}
}
