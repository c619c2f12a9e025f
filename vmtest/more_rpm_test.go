//go:build vm

package vmtest

import (
	"os"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/machine"
)

// TestMoreRPM installs the .rpm by rpm(8), on machines whose systemd runs its
// scripts as Fedora's would.
func TestMoreRPM(t *testing.T) {
	image, err := machine.Build(t.Context(), os.Stderr)
	must(t, err)
	tools, err := machine.Packages(t.Context(), image, foreignPackages(), os.Stderr)
	must(t, err)
	w := newWorld(t, "kernel", machine.Boot{}, tools)
	w.packages = rpm
	w.both(t, "dpkg --install /payload/rpm/*.deb >/dev/null 2>&1")
	w.mainJob(t)
	w.scenario(t, "rpm: hardened unit", "46", w.hardened)
	w.scenario(t, "rpm: upgrade under traffic", "6", func(t *testing.T) { w.upgrade(t, 0, 0) })
	w.scenario(t, "rpm: removed, installed again", "7", func(t *testing.T) {
		w.removed(t)
		w.both(t, "! systemctl cat gatelodge.service 2>/dev/null; ! command -v gatelodge; rpm --verify gatelodge && exit 1; getent passwd gatelodge >/dev/null")
		w.both(t, w.packages.install+"; systemctl enable --now gatelodge; systemctl is-active gatelodge")
		w.visitor(t)
	})
}
