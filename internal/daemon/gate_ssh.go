package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/host"
)

// sshMemory is what a gate knows of its sshd's ports beside the facts.
type sshMemory struct {
	saved []uint16 // those on disk
	anew  bool     // whether the owner has asked to look anew
	root  []uint16 // what root listened on when it was looked last; watchSSH's own
}

// maxSSHPorts bounds the ports that are remembered. Only root's sshd adds any.
const maxSSHPorts = 64

// recallSSH takes the ports over that were seen in earlier runs: after a reboot
// the gate may be there before its sshd.
func (g *gate) recallSSH(ports []uint16) {
	g.facts.SSHPorts = ports[:min(len(ports), maxSSHPorts)]
	g.ssh.saved = ports
}

// everSSH adds the ports on which an sshd has been seen before: one that
// restarts just now must not lose its port. They are forgotten when the owner
// applies gate.toml. The caller holds mu.
func (g *gate) everSSH(now []uint16) []uint16 {
	all := slices.Clone(now)
	if !g.ssh.anew {
		for _, p := range g.facts.SSHPorts {
			if len(all) < maxSSHPorts && !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	g.ssh.anew = false
	slices.Sort(all)
	return slices.Compact(all)
}

// sshRound is how often the gate looks whether sshd has come to another port. It
// costs about as much as an echo request.
const sshRound = 500 * time.Millisecond

// watchSSH brings the machine up to date as soon as an sshd listens where none
// has: the port may be a home's, and the owner who connects is to get no
// further than this machine.
func (g *gate) watchSSH(context.Context) error {
	root, err := host.RootPorts()
	if err != nil || slices.Equal(root, g.ssh.root) {
		return err
	}
	ports, err := host.SSHPorts()
	if err != nil {
		return err
	}
	g.ssh.root = root
	g.mu.Lock()
	defer g.mu.Unlock()
	isNew := func(p uint16) bool { return !slices.Contains(g.facts.SSHPorts, p) }
	if slices.ContainsFunc(ports, isNew) {
		g.loop.kick()
	}
	return nil
}
