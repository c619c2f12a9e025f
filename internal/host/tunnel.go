package host

import (
	"context"

	"github.com/gatelodge/gatelodge/internal/host/wireguard"
)

// TunnelConfig describes one end of a tunnel inside this process.
type TunnelConfig = wireguard.TunnelConfig

// Tunnel is a tunnel that ends inside this process.
type Tunnel = wireguard.Tunnel

// OpenTunnel opens a tunnel that touches nothing of the machine and needs no
// privilege: the one by which an invite is redeemed.
func OpenTunnel(ctx context.Context, c TunnelConfig) (*Tunnel, error) {
	return wireguard.OpenTunnel(ctx, c)
}
