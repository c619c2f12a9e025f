package host_test

import (
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/gatelodge/gatelodge/internal/host"
)

// To look makes no interface, not even for a moment: the owner has agreed to
// nothing yet.
func TestLookMakesNoInterface(t *testing.T) {
	m := newMachine(t)
	const mark = "afterlook"
	seen, done := make(chan netlink.LinkUpdate, 100), make(chan struct{})
	must(t, m.ns.Do(func() error { return netlink.LinkSubscribe(seen, done) }))
	t.Cleanup(func() { close(done) })
	must(t, m.ns.Do(func() error {
		if _, err := host.Look(t.Context(), "/", ""); err != nil {
			return err
		}
		// What the kernel tells after this was made after the look.
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: mark}})
	}))
	for {
		select {
		case u := <-seen:
			if u.Attrs().Name == mark {
				return
			}
			t.Errorf("looking has changed the interface %s", u.Attrs().Name)
		case <-time.After(time.Minute):
			t.Fatal("the kernel tells of no interface")
		}
	}
}
