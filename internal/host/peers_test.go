package host_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// A plan that is older than a revocation does not bring the peer back, and is
// no failure for that.
func TestADroppedPeerStaysOut(t *testing.T) {
	m := newMachine(t)
	var revoked atomic.Bool
	want := m.gate(t, "")
	tenant := want.WireGuard.Peers[0].PublicKey
	m.host.AdmitOnly(func(k key.Public) bool { return k != tenant || !revoked.Load() })
	m.bring(t, want)
	if !m.has(t, m.host, tenant) {
		t.Fatal("the peer is not there: the test shows nothing")
	}
	revoked.Store(true)
	must(t, m.ns.Do(func() error { return m.host.Drop(context.Background(), []key.Public{tenant}) }))
	stale := want
	stale.WireGuard.ListenPort = 55200 // so that the device is configured
	for range 2 {
		if _, err := m.apply(t, m.host, stale); err != nil {
			t.Fatal(err)
		}
		must(t, m.ns.Do(func() error { return m.host.Renew(context.Background(), stale, []key.Public{tenant}) }))
		if m.has(t, m.host, tenant) {
			t.Fatal("an older plan has brought the revoked peer back")
		}
	}
	revoked.Store(false) // it was invited again
	if changes, err := m.apply(t, m.host, want); err != nil || len(changes) == 0 || !m.has(t, m.host, tenant) {
		t.Errorf("admitted again, it is not there: %v, %v", changes, err)
	}
}

// A peer that could not be dropped is removed by the next plan without it.
func TestAPeerThatIsNotAdmittedIsRemovedByThePlan(t *testing.T) {
	m := newMachine(t)
	want := m.gate(t, "")
	tenant := want.WireGuard.Peers[0].PublicKey
	m.bring(t, want)
	m.host.AdmitOnly(func(k key.Public) bool { return k != tenant })
	without := want
	without.WireGuard.Peers = nil
	if _, err := m.apply(t, m.host, without); err != nil || m.has(t, m.host, tenant) {
		t.Errorf("it is still there: %v", err)
	}
}

func (m *machine) has(t testing.TB, h *host.Host, k key.Public) bool {
	t.Helper()
	var peers []plan.ObservedPeer
	must(t, m.ns.Do(func() (err error) {
		peers, err = h.Peers(context.Background())
		return err
	}))
	for _, p := range peers {
		if p.PublicKey == k {
			return true
		}
	}
	return false
}
