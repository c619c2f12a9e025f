package gate

import (
	"context"
	"slices"
	"time"
)

// sshMemory is what a gate knows of its sshd's ports beside the facts.
type sshMemory struct {
	saved []uint16 // those on disk
	again bool     // whether the owner has asked to look again
}

// maxSSHPorts bounds the ports that are remembered. Only root's sshd adds any.
const maxSSHPorts = 64

// recallSSH takes the ports over that were seen in earlier runs: after a reboot
// the gate may be there before its sshd.
func (m *memory) recallSSH(ports []uint16) {
	m.state.Facts.SSHPorts = ports[:min(len(ports), maxSSHPorts)]
	m.ssh.saved = ports
}

// everSSH adds the ports on which an sshd has been seen before: one that
// restarts just now must not lose its port. They are forgotten when the owner
// applies gate.toml. The caller holds mu.
func (m *memory) everSSH(now []uint16) []uint16 {
	all := slices.Clone(now)
	if !m.ssh.again {
		for _, p := range m.state.Facts.SSHPorts {
			if len(all) < maxSSHPorts && !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	m.ssh.again = false
	slices.Sort(all)
	return slices.Compact(all)
}

// sshRound is how often the gate looks whether sshd has come to another port. It
// costs about as much as an echo request.
const sshRound = 500 * time.Millisecond

// watchSSH brings the machine up to date as soon as an sshd listens where none
// has: the port may be a home's, and the owner who connects is to get no
// further than this machine.
func (g *Gate) watchSSH(context.Context) error {
	root, err := g.machine.RootPorts()
	if err != nil || slices.Equal(root, g.rootPorts) {
		return err
	}
	ports, err := g.machine.SSHPorts()
	if err != nil {
		return err
	}
	g.rootPorts = root
	known := g.memory.now().Facts.SSHPorts
	if slices.ContainsFunc(ports, func(p uint16) bool { return !slices.Contains(known, p) }) {
		g.loop.Kick()
	}
	return nil
}
