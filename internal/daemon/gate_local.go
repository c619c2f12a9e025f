package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Plan implements role.
func (g *gate) Plan(ctx context.Context) (PlanResponse, error) {
	g.apply.Lock()
	defer g.apply.Unlock()
	c, err := g.readConfig()
	if err != nil {
		return PlanResponse{}, err
	}
	facts, err := g.host.Facts(ctx, c.Tunnel.Interface)
	if err != nil {
		return PlanResponse{}, err
	}
	g.mu.Lock()
	err = g.acceptable(c, facts)
	g.mu.Unlock()
	if err != nil {
		return PlanResponse{}, err
	}
	changes, err := g.host.Diff(ctx, g.wantWith(c, facts))
	g.mu.Lock()
	defer g.mu.Unlock()
	return PlanResponse{Changes: texts(changes), Risks: plan.WantedInput(c).Closes(g.inputs.kept)}, err
}

// wantWith plans this gate as it would be with another configuration, and
// remembers nothing of it.
func (g *gate) wantWith(c config.Gate, facts plan.Facts) plan.State {
	g.mu.Lock()
	would := &gate{config: c, facts: facts, key: g.key, registry: g.registry.Clone(), endpoints: g.endpoints, inputs: inputs{kept: plan.WantedInput(c)}}
	g.mu.Unlock()
	would.registry.Expire(time.Now())
	would.registry.Reconsider(would.policies())
	return would.want(facts)
}

// Apply implements role.
func (g *gate) Apply(ctx context.Context, req ApplyRequest) (ApplyResponse, error) {
	if err := checkConfirmTime(req.ConfirmWithin); err != nil {
		return ApplyResponse{}, err
	}
	if err := g.takeConfig(ctx, req); err != nil {
		return ApplyResponse{}, err
	}
	changes, err := g.reconcile()
	if err != nil {
		g.dropTrial() // what is on trial has not come into force
	}
	return ApplyResponse{Changes: texts(changes), Report: g.Report(ctx)}, err
}

// Invite implements gatekeeper.
func (g *gate) Invite(ctx context.Context, req InviteRequest) (InviteResponse, error) {
	secret, err := key.NewSecret()
	if err != nil {
		return InviteResponse{}, err
	}
	endpoints, err := g.dialable()
	if err != nil {
		return InviteResponse{}, err
	}
	var made registry.Invite
	err = g.change(func(r *registry.State) (err error) {
		made, err = r.Invite(g.identity(), req.Name, secret, time.Now(), req.For)
		return err
	})
	if err != nil {
		return InviteResponse{}, err
	}
	text, err := g.inviteText(secret, made, endpoints)
	if err == nil {
		_, err = g.reconcile() // which lets the one-time key in
	}
	if err != nil {
		return InviteResponse{}, errors.Join(err, g.forget(ctx, req.Name))
	}
	g.log.Info("invited", "home", req.Name, "until", made.Expires)
	return InviteResponse{Name: req.Name, Invite: text, Expires: made.Expires}, nil
}

// forget takes an invite back that could not be given out.
func (g *gate) forget(ctx context.Context, name string) error {
	return g.Revoke(context.WithoutCancel(ctx), name)
}

func (g *gate) inviteText(secret key.Secret, made registry.Invite, endpoints []string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.config.Tunnel
	return key.Invite{
		Secret:      secret,
		Gate:        g.key.Public(),
		GateAddress: plan.GateAddresses(g.config)[0],
		Address:     made.Address4,
		PrefixBits:  t.Prefix4.Bits(),
		ControlPort: t.ControlPort,
		Endpoints:   endpoints,
	}.Encode()
}

// dialable returns where homes reach this gate: as the owner says, or else at
// the addresses found here.
func (g *gate) dialable() ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if list := g.config.Public.Endpoints; len(list) > 0 {
		return list, nil
	}
	var endpoints []string
	for _, a := range g.facts.Public {
		if host.Routable(a) && len(endpoints) < 4 {
			endpoints = append(endpoints, net.JoinHostPort(a.String(), strconv.Itoa(int(g.config.Tunnel.ListenPort))))
		}
	}
	if len(endpoints) == 0 {
		return nil, &RefusedError{
			Message: "this gate does not know at which address homes can reach it",
			Hint:    `set endpoints = ["NAME-OR-ADDRESS"] under [public] in ` + g.opts.Paths.ConfigFile(plan.Gate),
		}
	}
	return endpoints, nil
}

// Revoke implements gatekeeper. The key opens nothing any more at once, before
// anything that takes time: whatever else is under way does not let it in again.
// Once Revoke returns, its flows have ended too. A disk that takes no writes
// keeps nobody from being revoked.
func (g *gate) Revoke(ctx context.Context, name string) error {
	keys, err := g.bar(name)
	if err != nil {
		return err
	}
	dropErr := g.host.Drop(ctx, keys)
	saveErr := g.enforce(func(r *registry.State) bool {
		_, err := r.Revoke(name)
		return err == nil // else somebody else was faster
	})
	g.admitAgain(keys)
	g.log.Info("revoked", "home", name)
	if saveErr != nil {
		saveErr = fmt.Errorf("%q is revoked, but that could not be written down yet, so do not restart this gate before it could: %w", name, saveErr)
	}
	_, err = g.reconcile()
	return errors.Join(dropErr, saveErr, err)
}

// bar keeps the keys of a home or an invite out of the device from now on.
func (g *gate) bar(name string) ([]key.Public, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	keys, err := g.registry.KeysOf(name)
	for _, k := range keys {
		g.barred[k] = true
	}
	return keys, err
}

// admitAgain leaves it to the registry whether keys may be in the device.
func (g *gate) admitAgain(keys []key.Public) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range keys {
		delete(g.barred, k)
	}
}

// admits reports whether a key may be in the device as things stand.
func (g *gate) admits(k key.Public) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.barred[k] && g.registry.HasKey(k)
}

// endpointRound is how often the whereabouts of the homes are written down.
// After a reboot the gate can then answer visitors at once, instead of
// waiting for each home to call.
const endpointRound = 10 * time.Second

func (g *gate) rememberEndpoints(ctx context.Context) error {
	observed, err := g.host.Peers(ctx)
	if err != nil {
		return err
	}
	return g.note(observed)
}

// note writes down where homes are, if that is news.
func (g *gate) note(observed []plan.ObservedPeer) error {
	err := g.change(func(r *registry.State) error {
		news := false
		for _, h := range r.Homes {
			i := slices.IndexFunc(observed, func(p plan.ObservedPeer) bool { return p.PublicKey == h.PublicKey })
			if i >= 0 && observed[i].Endpoint != (netip.AddrPort{}) && r.SetEndpoint(h.Name, observed[i].Endpoint) {
				news = true
			}
		}
		if !news {
			return errNoNews
		}
		return nil
	})
	if errors.Is(err, errNoNews) {
		return nil
	}
	return err
}

// errNoNews ends a change that would change nothing.
var errNoNews = errors.New("nothing is new")
