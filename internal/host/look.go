package host

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/routing"
	"github.com/gatelodge/gatelodge/internal/host/sockets"
	"github.com/gatelodge/gatelodge/internal/host/wireguard"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/survey"
)

// Found is what this machine is, before anything is set up on it.
type Found struct {
	Facts  plan.Facts   // what planning needs
	Survey survey.Facts // what decides whether it can be a gate or a home
}

// Look finds out what this machine is, by the script that is carried out on a
// VPS, too, and better where we can do so ourselves. It changes nothing: it makes
// no interface, and loads no module. What belongs to gatelodge is looked for
// below root. sshConnection is the value of SSH_CONNECTION (ssh(1)) of the
// command that asks: its port is one that must stay open.
func Look(ctx context.Context, root, sshConnection string) (Found, error) {
	seen, err := lookByScript(ctx, strings.TrimRight(root, "/"))
	if err != nil {
		return Found{}, fmt.Errorf("cannot look at this machine: %w", err)
	}
	rt, err := routing.Open()
	if err != nil {
		return Found{}, err
	}
	facts, err := Facts(ctx, rt, "", sshConnection)
	if err != nil {
		return Found{}, err
	}
	if err := lookCloser(ctx, &seen, facts); err != nil {
		return Found{}, err
	}
	return Found{Facts: facts, Survey: seen}, nil
}

// lookByScript carries the script out here.
func lookByScript(ctx context.Context, root string) (survey.Facts, error) {
	look := exec.CommandContext(ctx, "sh", "-s")
	look.Stdin = strings.NewReader("root_prefix='" + strings.ReplaceAll(root, "'", `'\''`) + "'\nskip_network=yes\n" + survey.Script)
	out, err := look.Output()
	if err != nil {
		return survey.Facts{}, err
	}
	f, err := survey.Parse(string(out))
	if err != nil {
		return f, err
	}
	kept, err := exec.CommandContext(ctx, "sh", "-c", survey.KeptScript, "sh", root).Output()
	if err != nil {
		return f, err
	}
	return f, f.Take(string(kept))
}

// lookCloser puts in what this program finds out better than a script.
func lookCloser(ctx context.Context, f *survey.Facts, facts plan.Facts) error {
	nft, err := nftHere()
	if err != nil {
		return err
	}
	listeners, err := sockets.Listeners()
	if err != nil {
		return err
	}
	f.NFT, f.Addresses = nft, facts.Public
	f.SSHPorts = slices.Concat([]uint16{}, facts.SSHPorts)
	f.WireGuard, f.TUN = wireguard.Look(ctx)
	list := make([]survey.Listener, len(listeners))
	for i, l := range listeners {
		list[i] = survey.Listener{Protocol: l.Protocol.String(), Addr: l.Addr, Port: l.Port, Process: l.Owner(), Users: l.UID != 0}
	}
	f.SetListeners(list)
	return nil
}

// nftHere returns the version of nft(8), also of one that is too old; "" is none.
func nftHere() (string, error) {
	found, _, err := NFT()
	return found, err
}

// CanRun reports why this machine can be neither a gate nor a home: it has no
// nft(8) that will do, or makes neither WireGuard nor TUN interfaces. It makes
// one for a moment, which may load a module: ask only where the owner has told us
// to set something up.
func CanRun(ctx context.Context) error {
	if _, err := firewall.Open(); err != nil {
		return err
	}
	_, _, err := wireguard.Probe(ctx)
	return err
}

// MayManage reports, without trying, why this process may not set anything up.
func MayManage() error { return wireguard.MayManage() }

// FactsNow gathers what planning needs to know of a machine on which nothing of
// ours is set up.
func FactsNow(ctx context.Context) (plan.Facts, error) {
	rt, err := routing.Open()
	if err != nil {
		return plan.Facts{}, err
	}
	return Facts(ctx, rt, "", "")
}

// PublicText shows where visitors arrive.
func (f Found) PublicText() string {
	if len(f.Facts.Public) == 0 {
		return "no address with a way to the internet"
	}
	text := make([]string, len(f.Facts.Public))
	for i, a := range f.Facts.Public {
		text[i] = a.String()
	}
	return strings.Join(text, ", ") + onInterfaces(f.Facts.Networks)
}

func onInterfaces(networks []plan.Network) string {
	var names []string
	for _, n := range networks {
		if n.Default && !slices.Contains(names, n.Interface) {
			names = append(names, n.Interface)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " on " + strings.Join(names, ", ")
}
