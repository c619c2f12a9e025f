package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/routing"
	"github.com/gatelodge/gatelodge/internal/host/wireguard"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// remove takes everything of ours from the machine, except kernel settings.
func (h *Host) remove(ctx context.Context, name string) error {
	_, err := h.routing.Remove(ctx, name)
	return errors.Join(
		err,
		h.letGo(),
		wireguard.Remove(name),
		h.firewall.Remove(ctx, name),
		h.guard.Lower(name),
	)
}

// letGo ends the embedded device, which the next Apply makes again. Nobody
// serves the kernel's, and Close would end our only way to talk to it.
func (h *Host) letGo() error {
	if h.device.Kind() != plan.Embedded {
		return nil
	}
	return h.device.Close()
}

// Stands reports whether there is an interface or a table of that name.
func Stands(ctx context.Context, name string) (bool, error) {
	rt, err := routing.Open()
	if err != nil {
		return false, err
	}
	if rt.HasLink(name) {
		return true, nil
	}
	fw, err := firewall.Open()
	if err != nil {
		return false, err
	}
	return fw.Present(ctx, name)
}

// Remove takes the named interfaces and tables, with their rules and routes,
// from the machine, no matter who set them up and how that ended, and restores
// the noted settings, in the order given. It returns, in words, what it did.
// What filters goes last: nothing is open in between.
func Remove(ctx context.Context, names []string, notes []store.Entry) (done []string, err error) {
	rt, err := routing.Open()
	if err != nil {
		return nil, err
	}
	fw, err := firewall.Open()
	if err != nil {
		return nil, err
	}
	var errs []error
	took := func(what string, err error) {
		if what != "" && err == nil {
			done = append(done, what)
		}
		step.At("host: after", what)
		errs = append(errs, err)
	}
	step.At("host: before removal")
	rt.Remember(tablesIn(notes)...)
	for _, n := range notes {
		took(restore(ctx, rt, n))
	}
	for _, name := range names {
		took(removeRouting(ctx, rt, name))
		took(removeInterface(rt, name))
		took(removeTable(ctx, fw, name))
		took("", removeGuard(ctx, name))
	}
	return done, errors.Join(errs...)
}

// restore gives a setting its old value. One that has disappeared with its interface
// needs nothing.
func restore(ctx context.Context, rt *routing.Routing, n store.Entry) (string, error) {
	if n.Kind == tableKind {
		return "", nil // goes with the routes in it
	}
	if n.Kind != sysctlKind {
		return "", fmt.Errorf("the undo journal holds an entry of the unknown kind %q", n.Kind)
	}
	now, err := rt.ReadSysctl(n.Name)
	if errors.Is(err, routing.ErrNoSysctl) || err == nil && now == n.Previous {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if err := rt.SetSysctl(ctx, plan.Sysctl{Name: n.Name, Value: n.Previous}); err != nil {
		return "", err
	}
	return fmt.Sprintf("restored %s to %s", n.Name, n.Previous), nil
}

func removeRouting(ctx context.Context, rt *routing.Routing, name string) (string, error) {
	n, err := rt.Remove(ctx, name)
	if n == 0 {
		return "", err
	}
	return fmt.Sprintf("removed rules and routes: %d", n), err
}

func removeInterface(rt *routing.Routing, name string) (string, error) {
	if !rt.HasLink(name) {
		return "", nil
	}
	return "removed interface " + name, wireguard.Remove(name)
}

func removeTable(ctx context.Context, fw *firewall.Firewall, name string) (string, error) {
	present, err := fw.Present(ctx, name)
	if err != nil || !present {
		return "", err
	}
	return "removed nftables table inet " + name, fw.Remove(ctx, name)
}

// guardPatience is for the service manager to let go of a guard that it has
// kept for a daemon which was stopped just now.
const guardPatience = 5 * time.Second

// removeGuard removes a guard that a daemon has not taken along: one that
// somebody has loaded from a copy of the ruleset.
func removeGuard(ctx context.Context, name string) error {
	guard := firewall.OpenGuard(firewall.GuardOptions{})
	ctx, cancel := context.WithTimeout(ctx, guardPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := guard.Lower(name)
		if !errors.Is(err, firewall.ErrOwned) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
