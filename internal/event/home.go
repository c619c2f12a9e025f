package event

import (
	"log/slog"
	"net/netip"
	"time"
)

// TunnelUp says that the gate answers a home.
type TunnelUp struct {
	Endpoint  netip.AddrPort `json:"endpoint"` // at which it was tried
	RoundTrip time.Duration  `json:"round_trip_ns"`
}

// Line implements Fact.
func (f TunnelUp) Line() Line {
	return Line{"tunnel.up", slog.LevelInfo, "the gate answers", []slog.Attr{slog.Any("endpoint", f.Endpoint), slog.Duration("round_trip", f.RoundTrip)}}
}

// TunnelDown says that the gate has stopped answering a home.
type TunnelDown struct {
	Endpoint netip.AddrPort `json:"endpoint"` // at which it was tried
}

// Line implements Fact.
func (f TunnelDown) Line() Line {
	return Line{"tunnel.down", slog.LevelWarn, "the gate no longer answers", []slog.Attr{slog.Any("endpoint", f.Endpoint)}}
}

// GateUnreachable says why the gate cannot be reached, as far as that is known.
type GateUnreachable struct {
	Why string `json:"why"`
}

// Line implements Fact.
func (f GateUnreachable) Line() Line {
	return Line{"tunnel.unreachable", slog.LevelWarn, "cannot reach the gate, keeps trying", []slog.Attr{slog.String("why", f.Why)}}
}

// TunnelNotLeft says that a home could not leave the tunnel to another machine that
// has its key.
type TunnelNotLeft struct {
	Why string `json:"why"`
}

// Line implements Fact.
func (f TunnelNotLeft) Line() Line {
	return Line{"tunnel.not_left", slog.LevelError, "cannot leave the tunnel to the other machine", []slog.Attr{slog.String("error", f.Why)}}
}

// EndpointNotSaved says that a home could not write down where the gate answered.
type EndpointNotSaved struct {
	Why string `json:"why"`
}

// Line implements Fact.
func (f EndpointNotSaved) Line() Line {
	return Line{"tunnel.endpoint_not_saved", slog.LevelError, "cannot remember where the gate answered", []slog.Attr{slog.String("error", f.Why)}}
}

// ForwardPublished says that the gate publishes a forward of a home's.
type ForwardPublished struct {
	Forward string   `json:"forward"`
	Notes   []string `json:"notes,omitempty"` // the gate's own words
}

// Line implements Fact.
func (f ForwardPublished) Line() Line {
	return Line{"forward.published", slog.LevelInfo, "published", []slog.Attr{slog.String("forward", f.Forward), slog.Any("notes", f.Notes)}}
}

// ForwardRefused says that the gate does not publish a forward of a home's.
type ForwardRefused struct {
	Forward string `json:"forward"`
	Reason  string `json:"reason"` // the gate's own words
}

// Line implements Fact.
func (f ForwardRefused) Line() Line {
	return Line{"forward.refused", slog.LevelWarn, "the gate refuses a forward", []slog.Attr{slog.String("forward", f.Forward), slog.String("reason", f.Reason)}}
}
