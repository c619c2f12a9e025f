package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/examine"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/store"
)

// Examine looks at this machine without its daemon, which does not run. It
// needs root's rights.
func Examine(ctx context.Context, o Options) (local.DoctorResponse, error) {
	role, err := o.Paths.Role()
	if err != nil {
		return local.DoctorResponse{}, err
	}
	if os.Geteuid() != 0 {
		return local.DoctorResponse{}, fmt.Errorf("looking at this machine without its daemon: %w", os.ErrPermission)
	}
	ctx, cancel := context.WithTimeout(ctx, examine.Time)
	defer cancel()
	side := doctor.Side{Role: string(role), Version: o.Version, Clock: time.Now()}
	n := examine.Begin(&side)
	n.Machine(o.Paths.Existing(), "")
	n.Look("what the daemon would change", func() (func(*doctor.Side), error) {
		drift, err := driftWithout(ctx, o)
		return func(s *doctor.Side) { s.Machine.Drift = drift }, unlessTooOld(err)
	})
	n.Wait()
	return local.Judged(doctor.Evidence{Here: side}), nil
}

// driftWithout returns what the next start would fix, if something of ours
// stands: where nothing does, that nothing runs says it all.
func driftWithout(ctx context.Context, o Options) ([]doctor.Drift, error) {
	p, err := Plan(ctx, o)
	if held := new(store.LockedError); errors.As(err, &held) {
		return nil, errors.New("a daemon holds the state folder, but does not answer")
	}
	if err != nil {
		return nil, err
	}
	if p.Fresh {
		return nil, nil
	}
	var drift []doctor.Drift
	for _, c := range p.Changes {
		drift = append(drift, examine.DriftOf(c))
	}
	return drift, nil
}

// unlessTooOld leaves out that nft is missing or too old: that is a finding of its
// own.
func unlessTooOld(err error) error {
	if host.LacksNFT(err) {
		return nil
	}
	return err
}
