package wireguard

import (
	"os"
	"path/filepath"
	"testing"
)

// A modprobe that is asked may only be asked: to load is not to look.
const askedOnly = `#!/bin/sh
[ "$1 $2" = "--dry-run --verbose" ] || { echo "$@" >>"$(dirname "$0")/loaded"; exit 1; }
case " $KNOWN " in *" $3 "*) echo "insmod $3.ko" ;; *) exit 1 ;; esac
`

func TestWhatAMachineHasShowsWithoutLoadingIt(t *testing.T) {
	for _, c := range []struct {
		name           string
		files          []string
		known          string
		wireguard, tun bool
	}{
		{"nothing", nil, "", false, false},
		{"a module in use", []string{"sys/module/wireguard"}, "", true, false},
		{"modules that are there", []string{"dev/net/tun"}, "rtnl-link-wireguard tun", true, true},
		{"a device in use", []string{"sys/class/misc/tun", "dev/net/tun"}, "", false, true},
		{"a device without its module", []string{"dev/net/tun"}, "", false, false},
		{"a module without its device", []string{"sys/class/misc/tun"}, "tun", false, false},
	} {
		root, bin := t.TempDir(), t.TempDir()
		for _, f := range c.files {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, f)), 0o755))
			must(t, os.WriteFile(filepath.Join(root, f), nil, 0o600))
		}
		must(t, os.WriteFile(filepath.Join(bin, "modprobe"), []byte(askedOnly), 0o755))
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		t.Setenv("KNOWN", c.known)
		if wireguard, tun := look(t.Context(), root); wireguard != c.wireguard || tun != c.tun {
			t.Errorf("%s: WireGuard %t, TUN %t", c.name, wireguard, tun)
		}
		if _, err := os.Stat(filepath.Join(bin, "loaded")); err == nil {
			t.Errorf("%s: a module was loaded", c.name)
		}
	}
}

func TestMayManage(t *testing.T) {
	if err := MayManage(); err != nil { // tests run as root of a user namespace
		t.Error(err)
	}
}
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
