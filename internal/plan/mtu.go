package plan

import "github.com/gatelodge/gatelodge/internal/config"

// GateMTU returns the MTU of a gate's tunnel, which its homes are told.
func GateMTU(c config.Gate, facts Facts) int { return tunnelMTU(c.Tunnel.MTU, facts.UnderlayMTU) }

// homeMTU returns the MTU of a home's tunnel. Where its owner has not set one,
// it is no larger than the gate's: the gate's provider may carry less than
// home's, and a packet that is too large for the gate's last mile is fragmented
// on the way, or lost.
func homeMTU(c config.Home, gate int, facts Facts) int {
	mtu := tunnelMTU(c.Tunnel.MTU, facts.UnderlayMTU)
	if c.Tunnel.MTU != 0 || gate == 0 {
		return mtu
	}
	return min(mtu, max(gate, minMTU))
}
