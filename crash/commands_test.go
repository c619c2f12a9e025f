package crash

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/store"
)

// envCommand makes this test binary a short program that does one thing with
// the machine it runs on, in the folder of the environment's envFolder.
const (
	envCommand = "GATELODGE_CRASH_COMMAND"
	envFolder  = "GATELODGE_CRASH_FOLDER"
)

// commands are what the daemon does, one at a time, by the same calls.
var commands = map[string]func(ctx context.Context, folder string) error{
	"apply": func(ctx context.Context, folder string) error { return apply(ctx, folder, "") },
	"change": func(ctx context.Context, folder string) error {
		return apply(ctx, folder, "[firewall]\naccept = [\"8443/tcp\"]\n")
	},
	"save": save,
	"down": takeDown,
}

// command is main of the short program.
func command(name, folder string) int {
	if err := commands[name](context.Background(), folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// journal opens the undo journal in a folder, as a daemon or down does.
func journal(folder string) (*store.Journal, error) {
	s, err := store.Open(folder, nil)
	if err != nil {
		return nil, err
	}
	if _, err := s.Lock(); err != nil {
		return nil, err
	}
	j, _, err := s.Journal("boot")
	return j, err
}

// apply brings the machine to the state of a gate with one home and one
// forward, as the first round of a daemon does. The keys stand for any.
func apply(ctx context.Context, folder, policy string) error {
	j, err := journal(folder)
	if err != nil {
		return err
	}
	h, err := host.Open(ctx, host.Options{Interface: config.DefaultInterface, Device: "embedded", Journal: j, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	want, err := wanted(ctx, h, policy)
	if err != nil {
		return errors.Join(err, h.Close())
	}
	_, err = h.Apply(ctx, want)
	return errors.Join(err, h.Close())
}

func wanted(ctx context.Context, h *host.Host, policy string) (plan.State, error) {
	c, err := config.ParseGate("gate.toml", []byte("version = 1\n"+policy))
	if err != nil {
		return plan.State{}, err
	}
	facts, err := h.Facts(ctx, config.DefaultInterface)
	if err != nil {
		return plan.State{}, err
	}
	ours, err := fixedKey('A')
	if err != nil {
		return plan.State{}, err
	}
	theirs, err := fixedKey('B')
	if err != nil {
		return plan.State{}, err
	}
	return plan.ForGate(c, plan.GateInput{
		Input:      plan.WantedInput(c),
		PrivateKey: ours,
		Tenants:    []plan.Tenant{{PublicKey: theirs.Public(), Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2")}}},
	}, facts), nil
}

// fixedKey is a key that is the same in every process, of the form that
// WireGuard gives keys.
func fixedKey(n byte) (key.Private, error) {
	var k [32]byte
	k[0], k[1], k[31] = 8, n, 64
	return key.ParsePrivate(base64.StdEncoding.EncodeToString(k[:]))
}

// takeDown is what `gatelodge down` does once no daemon runs.
func takeDown(ctx context.Context, folder string) error {
	j, err := journal(folder)
	if err != nil {
		return err
	}
	if _, err := host.Remove(ctx, []string{config.DefaultInterface}, j.Entries()); err != nil {
		return err
	}
	return j.Clear()
}

// value is something worth remembering.
type value struct {
	Key store.PrivateKey
	N   int
}

// save counts up by one, as a gate that changes its list of homes does: the
// key is in the same file.
func save(_ context.Context, folder string) error {
	s, err := store.Open(folder, nil)
	if err != nil {
		return err
	}
	if _, err := s.Lock(); err != nil {
		return err
	}
	var v value
	loaded, err := s.Load("value", &v)
	if err != nil {
		return err
	}
	if !loaded.Found {
		k, err := fixedKey('A')
		if err != nil {
			return err
		}
		v.Key.Private = k
	}
	v.N++
	return s.Save("value", v)
}
