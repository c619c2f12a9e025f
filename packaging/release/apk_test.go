package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// segment is one of the compressed archives that an APK consists of, one
// behind the other.
type segment struct {
	packed, unpacked []byte
	names            []string
	content          map[string][]byte
	sums             map[string]string // of regular files, as the archive tells them
}

// segments takes an APK apart.
func segments(t *testing.T, apk []byte) []segment {
	t.Helper()
	var found []segment
	for rest := bytes.NewReader(apk); rest.Len() > 0; {
		start := len(apk) - rest.Len()
		z, err := gzip.NewReader(rest)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		unpacked, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		s := segment{packed: apk[start : len(apk)-rest.Len()], unpacked: unpacked, content: map[string][]byte{}, sums: map[string]string{}}
		s.list(t)
		found = append(found, s)
	}
	return found
}

func (s *segment) list(t *testing.T) {
	t.Helper()
	for archive := tar.NewReader(bytes.NewReader(s.unpacked)); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		s.names = append(s.names, h.Name)
		s.content[h.Name] = content
		if h.Typeflag == tar.TypeReg {
			s.sums[h.Name] = h.PAXRecords["APK-TOOLS.checksum.SHA1"]
		}
	}
}

// ended reports whether an archive says that nothing follows.
func (s *segment) ended() bool { return bytes.HasSuffix(s.unpacked, make([]byte, 1024)) }

// packedAPK returns the control and the data segment of a package.
func packedAPK(t *testing.T) (control, data segment) {
	t.Helper()
	r, p := small(t, date)
	if err := r.pack("arm64", "apk", p); err != nil {
		t.Fatal(err)
	}
	apk, err := os.ReadFile(filepath.Join(r.out, r.made[0]))
	if err != nil {
		t.Fatal(err)
	}
	parts := segments(t, apk)
	if len(parts) != 2 {
		t.Fatalf("%d segments, want control and data, and no signature", len(parts))
	}
	return parts[0], parts[1]
}

// No program of Debian reads this format: it is compared with what apk-tools
// expects (https://wiki.alpinelinux.org/wiki/Apk_spec).
func TestAPKIsMadeAsItsManagerExpects(t *testing.T) {
	control, data := packedAPK(t)
	if want := []string{".PKGINFO", ".post-install", ".post-upgrade", ".pre-deinstall"}; !slices.Equal(control.names, want) {
		t.Errorf("the control segment holds %q, want %q", control.names, want)
	}
	if control.ended() || !data.ended() {
		t.Error("only the last archive must say that nothing follows")
	}
	fields := map[string]string{}
	for _, line := range strings.Split(string(control.content[".PKGINFO"]), "\n") {
		name, value, ok := strings.Cut(line, " = ")
		if ok {
			fields[name] = value
		} else if line != "" && !strings.HasPrefix(line, "#") {
			t.Errorf(".PKGINFO has a line %q", line)
		}
	}
	for name, want := range map[string]string{
		"pkgname": "gatelodge", "pkgver": "0.1.0_pre202611230453-r1", "arch": "aarch64", "license": "Apache-2.0",
		"depend": "nftables>=1.0.2", "datahash": fmt.Sprintf("%x", sha256.Sum256(data.packed)),
	} {
		if fields[name] != want {
			t.Errorf(".PKGINFO: %s is %q, want %q", name, fields[name], want)
		}
	}
	for _, s := range []segment{control, data} {
		for name, sum := range s.sums {
			if want := fmt.Sprintf("%x", sha1.Sum(s.content[name])); name != ".PKGINFO" && sum != want {
				t.Errorf("%s: sum %q, want %s", name, sum, want)
			}
		}
	}
	if !slices.Contains(data.names, "etc/init.d/gatelodge") || slices.ContainsFunc(data.names, func(n string) bool { return strings.Contains(n, "systemd") }) {
		t.Errorf("files for another init: %q", data.names)
	}
}

// alpineSystem is a system of busybox and the package's scripts.
type alpineSystem struct {
	*system
	scripts map[string][]byte
}

// newAlpine makes one without OpenRC, as containers are.
func newAlpine(t *testing.T) *alpineSystem {
	t.Helper()
	control, _ := packedAPK(t)
	a := &alpineSystem{newSystem(t), control.content}
	a.bring("busybox")
	for _, applet := range []string{"sh", "cat", "grep"} {
		a.must(os.Symlink("busybox", a.path("usr/bin/"+applet)))
	}
	a.write("usr/sbin/addgroup", caller("addgroup")+"echo gatelodge:x:101: >>/etc/group\n", 0o755)
	a.write("usr/sbin/adduser", caller("adduser")+"echo gatelodge:x:101:101::/var/lib/gatelodge:/sbin/nologin >>/etc/passwd\n", 0o755)
	a.write("usr/bin/gatelodge", caller("gatelodge"), 0o755)
	return a
}

// script runs one, which must succeed, and returns what it says.
func (a *alpineSystem) script(name string) string {
	a.t.Helper()
	text, ok := a.scripts["."+name]
	if !ok {
		a.t.Fatalf("the package has no script %s, but %q", name, slices.Collect(maps.Keys(a.scripts)))
	}
	a.write("script", string(text), 0o755)
	out, err := a.apart("env", "-i", "PATH=/usr/sbin:/usr/bin", "chroot", a.root, "/script", "0.1.0-r1", "0.0.9-r1")
	if err != nil || strings.Contains(out, "not found") {
		a.t.Errorf("%s: %v\n%s", name, err, out)
	}
	return out
}

// says checks a script's words, of which there are none if want is empty.
func (a *alpineSystem) says(name, want string) {
	a.t.Helper()
	if out := a.script(name); !strings.Contains(out, want) || want == "" && out != "" {
		a.t.Errorf("%s says\n%s\nwant %q", name, out, want)
	}
}

var alpineUser = []string{
	"addgroup -S gatelodge",
	"adduser -S -D -H -h /var/lib/gatelodge -s /sbin/nologin -G gatelodge -g Gatelodge gatelodge",
}

func TestAPKScriptsWithoutOpenRC(t *testing.T) {
	t.Parallel()
	a := newAlpine(t)
	a.says("post-install", "after each boot run: gatelodge up")
	a.called(alpineUser...)
	a.says("post-install", "after each boot run: gatelodge up")
	a.says("post-upgrade", "")
	a.says("pre-deinstall", "")
	a.called()
	a.write("etc/gatelodge/home.toml", "", 0o600)
	a.says("pre-deinstall", "")
	a.called("gatelodge down")
}

func TestAPKScriptsWithOpenRC(t *testing.T) {
	t.Parallel()
	const restart = "rc-service --ifstarted --quiet gatelodge restart"
	removal := []string{"rc-service --ifstarted --quiet gatelodge stop", "rc-update --quiet --all delete gatelodge", "gatelodge down"}
	a := newAlpine(t)
	a.write("usr/sbin/rc-service", caller("rc-service"), 0o755)
	a.write("usr/sbin/rc-update", caller("rc-update")+"echo not in the runlevel boot\n", 0o755)
	a.says("post-install", "rc-update add gatelodge")
	a.called(alpineUser...)
	a.says("post-upgrade", "")
	a.called(restart)
	a.write("etc/gatelodge/gate.toml", "", 0o600)
	a.says("pre-deinstall", "")
	a.called(removal...)

	for _, name := range []string{"rc-service", "rc-update", "gatelodge"} {
		a.must(os.RemoveAll(a.path("usr/bin/" + name)))
		a.write("usr/sbin/"+name, caller(name)+"exit 1\n", 0o755)
	}
	a.says("post-upgrade", "did not start again")
	a.called(restart)
	a.says("pre-deinstall", "could not be stopped\ngatelodge: not everything could be removed")
	a.called(removal...)
}

// The daemon is not root there: it must be able to read what root's commands
// have left, before and after they have been its.
func TestOpenRCGivesTheDaemonItsFiles(t *testing.T) {
	t.Parallel()
	a := newAlpine(t)
	_, data := packedAPK(t)
	a.write("etc/init.d/gatelodge", string(data.content["etc/init.d/gatelodge"]), 0o755)
	a.scripts[".start"] = []byte(`#!/bin/sh
eerror() { echo "$*"; }
checkpath() { echo "checkpath $*" >>/calls; }
. /etc/init.d/gatelodge
start_pre || echo failed
`)
	a.says("start", "no role yet: gatelodge gate init, or gatelodge join\nfailed")
	a.called()
	for _, name := range []string{"etc/gatelodge/gate.toml", "var/lib/gatelodge/gate.json", "run/gatelodge/journal.json"} {
		a.write(name, "", 0o600)
	}
	a.must(os.Symlink("/etc/passwd", a.path("run/gatelodge/link")))
	a.says("start", "")
	a.called("checkpath -d -m 0700 -o gatelodge:gatelodge /var/lib/gatelodge /run/gatelodge",
		"checkpath -f -m 0600 -o gatelodge:gatelodge /var/lib/gatelodge/gate.json",
		"checkpath -f -m 0600 -o gatelodge:gatelodge /run/gatelodge/journal.json")
}
