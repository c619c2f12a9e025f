package host_test

import (
	"os"
	"path/filepath"
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

// Nor does it run anything that loads a module: ss does, and modprobe unless it is
// only asked.
func TestLookLoadsNoModule(t *testing.T) {
	m := newMachine(t)
	bin := t.TempDir()
	loaded := filepath.Join(bin, "loaded")
	for name, text := range map[string]string{
		"ss":       "#!/bin/sh\necho ss >>" + loaded + "\n",
		"modprobe": "#!/bin/sh\ncase \"$1\" in -n | --dry-run) exit 1 ;; esac\necho modprobe \"$@\" >>" + loaded + "\n",
	} {
		must(t, os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755))
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	must(t, m.ns.Do(func() error {
		_, err := host.Look(t.Context(), "/", "")
		return err
	}))
	if text, err := os.ReadFile(loaded); err == nil {
		t.Errorf("looking has run %s", text)
	}
}
