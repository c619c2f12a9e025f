package edit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Published is a forward that is in home.toml now.
type Published struct {
	Name    string
	Running bool // whether a daemon knows of it; without one, the rest is empty
	Forward status.Forward
	Report  status.Report
}

// RefusedError means that the gate does not grant a forward.
type RefusedError struct{ Name, Reason string }

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the gate refuses %s: %s", e.Name, e.Reason)
}

// Publish adds a forward to home.toml and has it carried out. A forward that
// cannot be does not stay in the file: the error is or wraps a *RefusedError
// where the gate says no. One without a name gets one made from its first port.
func (e Editor) Publish(ctx context.Context, f config.NewForward) (p Published, err error) {
	err = e.Alone(ctx, func() error {
		p, err = e.publish(ctx, f)
		return err
	})
	return p, err
}

func (e Editor) publish(ctx context.Context, f config.NewForward) (Published, error) {
	home, err := e.readHome()
	if err != nil {
		return Published{}, err
	}
	if f.Name == "" {
		f.Name = freeName(home.Home, f.Ports[0])
	}
	after, err := home.AddForward(f)
	if err != nil {
		return Published{}, err
	}
	p := Published{Name: f.Name}
	err = e.carryOut(ctx, e.homeChange(home, after), func(r local.ApplyResponse, err error) error {
		if errors.Is(err, local.ErrNotRunning) {
			return nil
		}
		if err != nil {
			return err
		}
		p.Running, p.Report = true, r.Report
		p.Forward, err = verdict(r.Report, f.Name)
		return err
	})
	return p, err
}

// verdict finds what has become of a forward; an error means that it must not
// stay in the file.
func verdict(r status.Report, name string) (status.Forward, error) {
	i := slices.IndexFunc(r.Forwards, func(f status.Forward) bool { return f.Name == name })
	if i < 0 {
		return status.Forward{}, problem.New(problem.Failed, "gatelodge status", "the daemon does not know %s", name)
	}
	f := r.Forwards[i]
	switch {
	case f.State == status.Refused:
		return f, problem.New(problem.Failed, "the owner of the gate decides in its gate.toml; home.toml is as it was", "%w", &RefusedError{name, f.Reason})
	case f.State == status.Pending && f.Reason != "":
		return f, problem.New(problem.Failed, "try again once that is fixed; home.toml is as it was", "%s cannot be published: %s", name, f.Reason)
	}
	return f, nil
}

// Forwards returns the names of the forwards in home.toml, for who is about to type
// one: nothing where they cannot be read.
func (e Editor) Forwards() []string {
	home, err := e.readHome()
	if err != nil {
		return nil
	}
	var names []string
	for _, f := range home.Home.Forwards {
		names = append(names, f.Name)
	}
	return names
}

// Unpublish takes a forward out of home.toml and has that carried out. It stays
// out, whatever the daemon says: what is not to be published must not come back.
func (e Editor) Unpublish(ctx context.Context, name string) error {
	return e.Alone(ctx, func() error {
		home, err := e.readHome()
		if err != nil {
			return err
		}
		after, err := home.RemoveForward(name)
		if err != nil {
			return err
		}
		var failed error
		// Once it has begun nobody stops it half-way.
		err = e.carryOut(context.WithoutCancel(ctx), e.homeChange(home, after), func(_ local.ApplyResponse, err error) error {
			if err != nil && !errors.Is(err, local.ErrNotRunning) {
				failed = fmt.Errorf("%s was removed from home.toml, but the change could not be applied: %w", name, err)
			}
			return nil
		})
		return errors.Join(err, failed)
	})
}

func (e Editor) homeChange(before, after config.HomeText) change {
	return change{file: e.Paths.ConfigFile(forward.Home), before: before.Data, after: after.Data}
}

// readHome returns home.toml, valid as it stands.
func (e Editor) readHome() (config.HomeText, error) {
	role, err := e.Paths.Role()
	if err != nil {
		return config.HomeText{}, err
	}
	if role != forward.Home {
		return config.HomeText{}, problem.New(problem.Failed, "run it at home", "this machine is a gate: homes decide what they publish")
	}
	file := e.Paths.ConfigFile(forward.Home)
	data, err := os.ReadFile(file)
	if err != nil {
		return config.HomeText{}, err
	}
	return config.ReadHome(file, data)
}

// freeName makes a name from a port that no forward of the file has.
func freeName(h config.Home, port string) string {
	taken := map[string]bool{}
	for _, f := range h.Forwards {
		taken[f.Name] = true
	}
	digits, _, _ := strings.Cut(port, "/")
	base := "port-" + strings.ReplaceAll(digits, ":", "-")
	for name, n := base, 2; ; name, n = base+"-"+strconv.Itoa(n), n+1 {
		if !taken[name] {
			return name
		}
	}
}
