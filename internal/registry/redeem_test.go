package registry_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/store"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// gate is the least that a real one does to enrol homes: a registry behind a
// mutex, on the disk before anybody hears of it.
type gate struct {
	mu     sync.Mutex
	self   registry.Gate
	state  *registry.State
	store  *store.Store
	asked  int
	invite netip.Addr
	lose   func() // nil, or the answer to a success is lost
}

func newGate(t *testing.T) *gate {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "gate"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &gate{
		self: registry.Gate{
			PublicKey: key.Public{0xff},
			Prefix4:   netip.MustParsePrefix("10.99.0.0/24"),
			Prefix6:   netip.MustParsePrefix("fd00:99::/64"),
		},
		state: registry.New(),
		store: s,
	}
}

func (g *gate) invited(t *testing.T, name string) key.Secret {
	t.Helper()
	secret, err := key.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	v, err := g.state.Invite(g.self, name, secret, noon, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	g.invite = v.Address4
	return secret
}

// Enrol takes every sender for the one-time peer: the test's connections come
// from a thousand addresses, so that none waits for its share of the server.
func (g *gate) Enrol(_ context.Context, _ netip.Addr, secret key.Secret, publicKey key.Public) (control.EnrolResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	next := g.state.Clone()
	h, err := next.Redeem(g.self, secret, g.invite, publicKey, noon)
	if refusal, ok := errors.AsType[*registry.Error](err); ok {
		return control.EnrolResponse{}, &control.Error{Code: control.Code(refusal.Code), Message: refusal.Message}
	}
	if err := g.store.Save("gate", next); err != nil {
		return control.EnrolResponse{}, err
	}
	g.state = next
	if g.lose != nil {
		g.lose()
		panic("the gate dies between the write and the answer")
	}
	return control.EnrolResponse{
		Name:     h.Name,
		Address4: h.Address4, Gate4: g.self.Address4(), Prefix4: g.self.Prefix4,
		Address6: h.Address6, Gate6: g.self.Address6(), Prefix6: g.self.Prefix6,
	}, nil
}

func (g *gate) Push(context.Context, netip.Addr, uint64, []forward.Published) (control.PushResponse, error) {
	return control.PushResponse{}, errors.New("not in this test")
}

func (g *gate) State(context.Context, netip.Addr) (control.StateResponse, error) {
	return control.StateResponse{}, errors.New("not in this test")
}

// listen serves the gate over real UDP.
func (g *gate) listen(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- control.NewServer(g, slog.New(slog.DiscardHandler)).ServeDatagrams(ctx, conn, ping.NewRuns())
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// peer is a socket in the place of an invite's tunnel.
type peer struct{ net.Conn }

func (p peer) Send(message []byte) error {
	_, err := p.Write(message)
	return err
}

func (p peer) Receive(ctx context.Context) ([]byte, error) {
	if err := p.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, 1<<12)
	n, err := p.Read(b)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return b[:n], err
}

// enrol asks as the n-th peer: from an address, and with a key, of its own.
func enrol(ctx context.Context, at netip.AddrPort, secret key.Secret, n uint32) (control.EnrolResponse, error) {
	local := [4]byte{127, 1}
	binary.BigEndian.PutUint16(local[2:], uint16(n))
	dialer := &net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(local), 0))}
	c, err := dialer.DialContext(ctx, "udp", at.String())
	if err != nil {
		return control.EnrolResponse{}, err
	}
	defer c.Close()
	var k key.Public
	binary.BigEndian.PutUint32(k[:], n)
	return control.Enrol(ctx, peer{c}, secret, k)
}

// A thousand homes redeem one invite at once, through the real server, with
// every success written to the disk: exactly one comes in.
func TestThousandRedemptions(t *testing.T) {
	const homes = 1000
	g := newGate(t)
	secret := g.invited(t, "attic")
	at := g.listen(t)
	errs := make([]error, homes)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range errs {
		done.Go(func() {
			start.Wait()
			_, errs[i] = enrol(t.Context(), at, secret, uint32(i+1))
		})
	}
	start.Done()
	done.Wait()

	winners := 0
	for i, err := range errs {
		switch {
		case err == nil:
			winners++
		case !errors.Is(err, &control.Error{Code: control.UsedInvite}):
			t.Errorf("home %d: %v", i, err)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if winners != 1 || g.asked < homes { // and more, where an answer was lost
		t.Errorf("%d winners of %d attempts, want 1 of %d", winners, g.asked, homes)
	}
	var stored registry.State
	if loaded, err := g.store.Load("gate", &stored); err != nil || !loaded.Found || len(stored.Homes) != 1 {
		t.Fatalf("on the disk: %+v, %d homes, %v", loaded, len(stored.Homes), err)
	}
	if err := stored.Check(g.self); err != nil {
		t.Error(err)
	}
}

// restart has the gate know only what is on the disk.
func (g *gate) restart(t *testing.T) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lose, g.state = nil, new(registry.State)
	if _, err := g.store.Load("gate", g.state); err != nil {
		t.Fatal(err)
	}
}

// The gate dies after the write and before the answer. The same key can ask
// again, of a gate that knows only what is on the disk; another cannot.
func TestLostAnswer(t *testing.T) {
	g := newGate(t)
	secret := g.invited(t, "attic")
	ctx, die := context.WithCancel(t.Context())
	g.lose = die
	if _, err := enrol(ctx, g.listen(t), secret, 1); err == nil {
		t.Fatal("the answer was not lost")
	}
	g.restart(t)
	at := g.listen(t) // a new start, with no memory of the failure
	if _, err := enrol(t.Context(), at, secret, 2); !errors.Is(err, &control.Error{Code: control.UsedInvite}) {
		t.Errorf("another key: %v", err)
	}
	at = g.listen(t)
	place, err := enrol(t.Context(), at, secret, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil || place.Name != "attic" || len(g.state.Homes) != 1 {
		t.Errorf("the same key: %+v, %v", place, err)
	}
}

// In memory, the same a hundred times.
func TestRedemptionsManyRuns(t *testing.T) {
	for range 100 {
		g := newGate(t)
		secret := g.invited(t, "attic")
		var mu sync.Mutex
		var group sync.WaitGroup
		winners := 0
		for i := range 200 {
			group.Go(func() {
				var k key.Public
				binary.BigEndian.PutUint32(k[:], uint32(i+1))
				if _, err := g.Enrol(t.Context(), g.invite, secret, k); err == nil {
					mu.Lock()
					defer mu.Unlock()
					winners++
				}
			})
		}
		group.Wait()
		if winners != 1 {
			t.Fatalf("%d winners", winners)
		}
	}
}
