package homeside

import (
	"context"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// checkTarget refuses a target that no visitor could ever reach by this home, as far
// as can be told: its own address in the tunnel, that of another home, or one out in
// the internet. The text has been read as an address already.
func checkTarget(ctx context.Context, a *command.App, to string) error {
	if to == "" {
		return nil
	}
	addr, err := netip.ParseAddr(to)
	if err != nil {
		return err
	}
	place, err := membership.Of(a.Paths())
	if err != nil {
		return err
	}
	facts, err := host.FactsNow(ctx)
	if err != nil {
		return err
	}
	if err := judgeTarget(addr, place, facts); err != nil {
		return command.Fail(command.ExitUsage, "gatelodge expose --help", "%w", err)
	}
	return nil
}

func judgeTarget(addr netip.Addr, place *membership.Membership, facts plan.Facts) error {
	switch {
	case place != nil && slices.Contains(place.Addresses, addr):
		return errHere
	case place != nil && place.Near(addr):
		return command.Fail(command.ExitUsage, "", "%s is an address of the tunnel: the homes of a gate do not reach each other, so publish the service at that home", addr)
	case isPublic(addr) && !plan.InNetwork(addr, facts):
		return command.Fail(command.ExitUsage, "", "%s is out in the internet, and not in a network of this machine: --to takes a device of this network", addr)
	}
	return nil
}

// isPublic reports whether an address is one that the internet routes. Addresses
// behind another router of this network are private (RFC 1918, RFC 6598, RFC 4193).
func isPublic(a netip.Addr) bool {
	shared := netip.MustParsePrefix("100.64.0.0/10")
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}
