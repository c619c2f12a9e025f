package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/store"
)

// DoctorResponse is what `gatelodge doctor` shows: what was looked at, and
// what is wrong.
type DoctorResponse struct {
	Findings []doctor.Finding `json:"findings"`
	Notes    []string         `json:"notes"` // what the findings do not rest on
	Evidence doctor.Evidence  `json:"evidence"`
	// Remedies let through, on this machine, what its other firewalls drop.
	Remedies []Remedy `json:"remedies"`
}

// examined is a role that can look at itself.
type examined interface {
	Examine(ctx context.Context) doctor.Evidence
	// Remedies are for what other firewalls of this machine drop now.
	Remedies(ctx context.Context) []Remedy
}

// examineTime bounds all of an examination, on this side.
const examineTime = 12 * time.Second

// Diagnose looks with the daemon's eyes and judges.
func diagnose(ctx context.Context, r examined) DoctorResponse {
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	answer := judged(r.Examine(ctx))
	answer.Remedies = r.Remedies(ctx)
	return answer
}

func judged(e doctor.Evidence) DoctorResponse {
	r := DoctorResponse{Findings: doctor.Judge(e), Notes: doctor.Notes(e), Evidence: e, Remedies: []Remedy{}}
	if r.Findings == nil {
		r.Findings = []doctor.Finding{}
	}
	if r.Notes == nil {
		r.Notes = []string{}
	}
	return r
}

// lookForDrops reads what the other firewalls of this machine would do to what
// ours lets through. What could be read counts, also where the rest could not.
func (n *notebook) lookForDrops(ctx context.Context, want plan.State, facts plan.Facts) {
	n.look("other firewalls", func() (func(*doctor.Side), error) {
		found, err := host.OthersDrops(ctx, want, facts)
		return func(s *doctor.Side) { s.Drops = doctorDrops(found) }, err
	})
	n.look("iptables-legacy", func() (func(*doctor.Side), error) {
		tables, err := host.LegacyTables()
		return func(s *doctor.Side) { s.Machine.Legacy = tables }, err
	})
}

// doctorDrops is what was found in the doctor's words.
func doctorDrops(found []host.OthersDrop) []doctor.Drop {
	var drops []doctor.Drop
	for _, d := range found {
		drops = append(drops, doctor.Drop{
			Deed: doctor.Deed(d.Deed), Hook: doctor.Hook(d.Packet.Hook), Owner: d.Owner, Table: d.Family + " " + d.Table, Chain: d.Chain,
			Rule: d.Rule, Remedy: d.Remedy.String(), Legacy: d.Legacy, Protocol: forward.Protocol(d.Packet.Protocol).String(), Port: d.Packet.Port,
		})
	}
	return drops
}

// notebook takes down what is looked at from several goroutines.
type notebook struct {
	mu   sync.Mutex
	side *doctor.Side
	wait sync.WaitGroup
}

// look runs a part of an examination beside the others. What it returns is
// written down under the notebook's lock; what fails is said, and no more.
func (n *notebook) look(what string, part func() (write func(*doctor.Side), err error)) {
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

// lookAtMachine looks at what every machine has, with or without a daemon.
func (n *notebook) lookAtMachine(folders []string, tunnel string) {
	n.look("nft", func() (func(*doctor.Side), error) {
		found, needed, err := host.NFT()
		return func(s *doctor.Side) {
			s.Machine.NFT, s.Machine.NFTNeeded, s.Machine.NFTTooOld = found, needed, needed != ""
		}, err
	})
	n.look("the disk", func() (func(*doctor.Side), error) {
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
	n.look("the connection table", func() (func(*doctor.Side), error) {
		count, limit, err := host.Tracked()
		return func(s *doctor.Side) { s.Machine.Conntrack = doctor.Conntrack{Count: count, Max: limit} }, err
	})
	n.look("forwarding", func() (func(*doctor.Side), error) {
		on, err := host.Forwarding()
		return func(s *doctor.Side) { s.Machine.Forwarding.On = on }, err
	})
	n.look("the reverse path check", func() (func(*doctor.Side), error) {
		check, err := host.ReversePath(tunnel)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil // no such interface: that is for others to say
		}
		return func(s *doctor.Side) { s.Machine.ReversePath = check }, err
	})
}

// lookAtState compares this machine with what it should be. The lock keeps
// away a round that is half way; one that hangs must not keep us.
func (n *notebook) lookAtState(ctx context.Context, apply *sync.Mutex, h *host.Host, want plan.State, automatic bool) {
	n.look("the wanted state", func() (func(*doctor.Side), error) {
		if err := lockWithin(ctx, apply, stateTime); err != nil {
			return func(s *doctor.Side) { s.Machine.StateUnseen = true }, err
		}
		defer apply.Unlock()
		seen := look(ctx, h, want)
		return func(s *doctor.Side) {
			s.Machine.StateUnseen = seen.observed.Routing.MTU == 0 && len(seen.problems) > 0
			s.Machine.Drift = seen.drift
			s.Machine.Forwarding.Needed = needsForwarding(want)
			s.Machine.IPv6 = slices.ContainsFunc(seen.observed.Routing.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() })
			s.Tunnel.MTU = seen.observed.Routing.MTU
		}, joinTexts(seen.problems)
	})
	n.look("the kernel's WireGuard", func() (func(*doctor.Side), error) {
		kind := h.Device()
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

// lookAtFailure finds out why the daemon's last round has failed: what it needs may
// not be there.
func (n *notebook) lookAtFailure(ctx context.Context, failed string) {
	n.look("the kernel's settings", func() (func(*doctor.Side), error) {
		space, err := host.SpaceAt("/proc/sys/net")
		return func(s *doctor.Side) { s.Machine.Failed, s.Machine.Sealed = failed, space.ReadOnly }, err
	})
	if failed == "" {
		return
	}
	n.look("what the kernel has for our rules", func() (func(*doctor.Side), error) {
		lacks, err := host.KernelLacks(ctx)
		return func(s *doctor.Side) { s.Machine.Lacks = lacks }, err
	})
}

// lookAtForwarding finds interfaces whose packets are not passed on.
func (n *notebook) lookAtForwarding(names []string) {
	n.look("forwarding of interfaces", func() (func(*doctor.Side), error) {
		closed, err := host.NotForwarding(names)
		return func(s *doctor.Side) { s.Machine.NotPassing = closed }, err
	})
}

// stateTime is how long a round under way may take before it is not waited for.
const stateTime = 3 * time.Second

func lockWithin(ctx context.Context, m *sync.Mutex, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !m.TryLock() {
		select {
		case <-ctx.Done():
			return errors.New("the daemon is busy with a change")
		case <-tick.C:
		}
	}
	return nil
}

func needsForwarding(want plan.State) bool {
	return slices.Contains(want.Routing.Sysctls, plan.Sysctl{Name: "net.ipv4.ip_forward", Value: "1"})
}

func joinTexts(texts []string) error {
	var errs []error
	for _, t := range texts {
		errs = append(errs, errors.New(t))
	}
	return errors.Join(errs...)
}

// overlap tells a judge of networks that mean the tunnel's addresses.
func overlap(tunnel []netip.Prefix, facts plan.Facts) *doctor.Overlap {
	for _, p := range tunnel {
		if n, is := plan.Overlap(p, facts); is {
			return &doctor.Overlap{Tunnel: p, Network: n.Prefix, Interface: n.Interface}
		}
	}
	return nil
}

// probeTime is how long a probe waits: what takes longer does not work.
const probeTime = 2500 * time.Millisecond

// maxProbes bounds how many ports are tried.
const maxProbes = 64

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

// Examine looks at this machine without its daemon, which does not run. It
// needs root's rights.
func Examine(ctx context.Context, o Options) (DoctorResponse, error) {
	role, err := o.Paths.Role()
	if err != nil {
		return DoctorResponse{}, err
	}
	if os.Geteuid() != 0 {
		return DoctorResponse{}, fmt.Errorf("looking at this machine without its daemon: %w", os.ErrPermission)
	}
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	side := doctor.Side{Role: string(role), Version: o.Version, Clock: time.Now()}
	n := &notebook{side: &side}
	n.lookAtMachine(existing(o.Paths.State(), o.Paths.Run()), "")
	n.look("what the daemon would change", func() (func(*doctor.Side), error) {
		drift, err := driftWithout(ctx, o)
		return func(s *doctor.Side) { s.Machine.Drift = drift }, err
	})
	n.wait.Wait()
	if side.Machine.NFTTooOld { // that says it
		side.Unseen = slices.DeleteFunc(side.Unseen, func(u string) bool { return strings.Contains(u, "nft") })
	}
	return judged(doctor.Evidence{Here: side}), nil
}

// driftWithout returns what the next start would mend, if something of ours
// stands: where nothing does, that nothing runs says it all.
func driftWithout(ctx context.Context, o Options) ([]string, error) {
	p, err := Plan(ctx, o)
	if held := new(store.LockedError); errors.As(err, &held) {
		return nil, errors.New("a daemon holds the state folder, but does not answer")
	}
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(p.Changes, func(c string) bool { return strings.Contains(c, "the device is missing") }) {
		return nil, nil
	}
	return p.Changes, nil
}

func existing(folders ...string) []string {
	return slices.DeleteFunc(folders, func(f string) bool {
		_, err := os.Stat(f)
		return err != nil
	})
}
