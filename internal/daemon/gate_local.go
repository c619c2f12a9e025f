package daemon

import (
	"context"
	"errors"
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
	if err := sameInstance(g.config.Tunnel.Interface, c.Tunnel.Interface); err != nil {
		return PlanResponse{}, err
	}
	facts, err := g.host.Facts(ctx, c.Tunnel.Interface)
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
	changes, err := g.reconcile(ctx)
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
		_, err = g.reconcile(ctx) // which lets the one-time key in
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

// Revoke implements gatekeeper. Once it returns, the key opens nothing any more.
func (g *gate) Revoke(ctx context.Context, name string) error {
	err := g.change(func(r *registry.State) error {
		_, err := r.Revoke(name)
		return err
	})
	if err != nil {
		return err
	}
	g.log.Info("revoked", "home", name)
	_, err = g.reconcile(ctx)
	return err
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
	g.mu.Lock()
	defer g.mu.Unlock()
	next, news := g.registry.Clone(), false
	for _, h := range g.registry.Homes {
		i := slices.IndexFunc(observed, func(p plan.ObservedPeer) bool { return p.PublicKey == h.PublicKey })
		if i >= 0 && observed[i].Endpoint != (netip.AddrPort{}) && next.SetEndpoint(h.Name, observed[i].Endpoint) {
			news = true
		}
	}
	if !news {
		return nil
	}
	if err := g.save(next); err != nil {
		return err
	}
	g.registry, g.unsaved = next, false
	return nil
}
