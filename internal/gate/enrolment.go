package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Invite implements local.Gatekeeper.
func (c Commands) Invite(ctx context.Context, req local.InviteRequest) (local.InviteResponse, error) {
	secret, err := key.NewSecret()
	if err != nil {
		return local.InviteResponse{}, err
	}
	endpoints, err := c.memory.now().Dialable()
	if err != nil {
		return local.InviteResponse{}, err
	}
	var made registry.Invite
	err = c.memory.change(func(r *registry.State) (err error) {
		made, err = r.Invite(c.memory.state.Identity(), req.Name, secret, time.Now(), req.For)
		return err
	})
	if err != nil {
		return local.InviteResponse{}, err
	}
	text, err := c.memory.now().Invite(secret, made, endpoints)
	if err == nil {
		_, err = c.reconciler.Round(ctx) // which lets the one-time key in
	}
	if err != nil {
		return local.InviteResponse{}, errors.Join(err, c.forget(ctx, req.Name))
	}
	c.events.Record(event.Invited{Home: req.Name, Until: made.Expires})
	return local.InviteResponse{Name: req.Name, Invite: text, Expires: made.Expires}, nil
}

// forget revokes an invite that could not be given out.
func (c Commands) forget(ctx context.Context, name string) error {
	return c.Revoke(context.WithoutCancel(ctx), local.RevokeRequest{Name: name})
}

// Revoke implements local.Gatekeeper. The key opens nothing from then on, before
// anything that takes time: whatever else is under way does not let it in again.
// Once Revoke returns, its flows have ended too. A disk that takes no writes
// keeps nobody from being revoked.
func (c Commands) Revoke(ctx context.Context, req local.RevokeRequest) error {
	name := req.Name
	keys, err := c.memory.bar(name)
	if err != nil {
		return err
	}
	seen := c.reconciler.Seen() // where it is now
	dropErr := c.machine.Drop(ctx, keys)
	saveErr := c.memory.enforce(func(r *registry.State) bool {
		former, _ := r.HomeByName(name)
		former.LastEndpoint = cmp.Or(seen.Peer(former.PublicKey).Endpoint, former.LastEndpoint)
		_, err := r.Revoke(name)
		registry.Remember(r, former, time.Now())
		return err == nil // else somebody else was faster
	})
	c.memory.admitAgain(keys)
	c.events.Record(event.Revoked{Home: name})
	if saveErr != nil {
		saveErr = fmt.Errorf("%q is revoked, but that could not be written down yet, so do not restart this gate before it is: %w", name, saveErr)
	}
	_, err = c.reconciler.Round(ctx)
	return errors.Join(dropErr, saveErr, err)
}
