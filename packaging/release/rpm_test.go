package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/goreleaser/nfpm/v2"
)

// The versions that are installed and upgraded to: a tag is newer than what
// was built on the way to it.
const earlier, later = "0.1.0~git202611230453.43a113e", "0.1.0"

// rpmSystem is a system on which rpm(8) installs packages for real and runs
// their scripts.
type rpmSystem struct {
	*system
	home string // rpm's own files
}

// newRPMSystem makes a tree with a shell and systemd-sysusers. Booted says
// whether systemd seems to run it, or whether it is the tree of an image.
func newRPMSystem(t *testing.T, booted bool) *rpmSystem {
	t.Helper()
	s := &rpmSystem{system: newSystem(t), home: t.TempDir()}
	for _, folder := range []string{
		"etc/systemd/system", "usr/lib/systemd/system", "usr/lib/sysusers.d",
		"usr/share/doc", "usr/share/man/man1", "usr/share/man/man5", "var/lib/rpm", "var/tmp",
	} {
		s.must(os.MkdirAll(s.path(folder), 0o755))
	}
	s.bring("sh")
	s.bring("systemd-sysusers")
	s.write("usr/bin/systemctl", caller("systemctl"), 0o755)
	if booted {
		s.must(os.MkdirAll(s.path("run/systemd/system"), 0o755))
	}
	return s
}

// rpm runs rpm(8) upon the tree.
func (s *rpmSystem) rpm(args ...string) (string, error) {
	out, err := s.apart(append([]string{"env", "HOME=" + s.home, "LC_ALL=C.UTF-8", "rpm", "--root", s.root, "--dbpath", "/var/lib/rpm"}, args...)...)
	var said []string
	for _, line := range strings.Split(out, "\n") {
		if !strings.HasPrefix(line, "rpm: ") { // Debian's rpm recommends another program
			said = append(said, line)
		}
	}
	return strings.Join(said, "\n"), err
}

// works runs what must not fail, and neither must a script: that is a warning only.
func (s *rpmSystem) works(args ...string) string {
	s.t.Helper()
	out, err := s.rpm(args...)
	if err != nil || strings.Contains(out, "warning") || strings.Contains(out, "not found") {
		s.t.Fatalf("rpm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *rpmSystem) refuses(want string, args ...string) {
	s.t.Helper()
	if out, err := s.rpm(args...); err == nil || !strings.Contains(out, want) {
		s.t.Fatalf("rpm %s: want it to fail with %q, got %v\n%s", strings.Join(args, " "), want, err, out)
	}
}

// architecture is this machine's, as the release calls it.
func architecture(t *testing.T) string {
	t.Helper()
	for name, a := range archs {
		if a.goarch == runtime.GOARCH {
			return name
		}
	}
	t.Fatalf("there are no packages for %s", runtime.GOARCH)
	return ""
}

// gatelodge packs a version whose program only writes down how it was called.
func (s *rpmSystem) gatelodge(version string) string {
	s.t.Helper()
	r, p := small(s.t, date)
	r.version = version
	s.must(os.WriteFile(p.binary, []byte(caller("gatelodge")+"# "+version+"\n"), 0o755))
	s.must(r.pack(architecture(s.t), "rpm", p))
	return filepath.Join(r.out, r.made[0])
}

// provide installs an empty package in place of one that is depended on.
func (s *rpmSystem) provide(name, version string) {
	s.t.Helper()
	packager, err := nfpm.Get("rpm")
	s.must(err)
	file, err := os.Create(filepath.Join(s.home, name+".rpm"))
	s.must(err)
	info := nfpm.WithDefaults(&nfpm.Info{Name: name, Arch: "all", Version: version, Description: name, MTime: date})
	s.must(errors.Join(packager.Package(info, file), file.Close()))
	s.works("--install", file.Name())
}

// whenBooted are the calls that are made of a system that systemd runs.
func whenBooted(booted bool, calls ...string) []string {
	if !booted {
		return nil
	}
	return calls
}

const reload, restart = "systemctl daemon-reload", "systemctl try-restart gatelodge.service"

func TestRPMIsInstalledUpgradedAndErased(t *testing.T) {
	for name, booted := range map[string]bool{"systemd runs": true, "tree of an image": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRPMSystem(t, booted)
			old, next := s.gatelodge(earlier), s.gatelodge(later)
			s.refuses("systemd is needed by gatelodge", "--install", old)
			s.provide("systemd", "252")
			s.provide("nftables", "1.0.1")
			s.refuses("nftables >= 1.0.2 is needed by gatelodge", "--install", old)
			s.works("--erase", "nftables")
			s.provide("nftables", "1.0.2")
			before := s.tree()

			s.works("--install", old)
			s.called(whenBooted(booted, reload, restart)...)
			s.installed(old, earlier)

			s.write("etc/gatelodge/home.toml", "mine\n", 0o640)
			s.must(os.Mkdir(s.path("var/lib/gatelodge"), 0o700))
			s.write("var/lib/gatelodge/key", "secret\n", 0o600)
			s.works("--upgrade", next)
			s.called(whenBooted(booted, reload, restart, reload)...)
			s.installed(next, later)
			s.refuses("which is newer", "--upgrade", old)

			s.works("--erase", "gatelodge")
			s.called(erasing(booted, "gatelodge down")...)
			s.leaves(before, "etc/gatelodge drwxr-xr-x", "etc/gatelodge/home.toml -rw-r-----",
				"var/lib/gatelodge drwx------", "var/lib/gatelodge/key -rw-------")
			if s.read("etc/gatelodge/home.toml")+s.read("var/lib/gatelodge/key") != "mine\nsecret\n" {
				t.Error("configuration or key are not as they were")
			}

			// Once more; then with nothing of the owner's, so that nothing stays.
			s.works("--install", next)
			s.called(whenBooted(booted, reload, restart)...)
			s.installed(next, later)
			s.must(os.Remove(s.path("etc/gatelodge/home.toml")))
			s.must(os.RemoveAll(s.path("var/lib/gatelodge")))
			s.works("--erase", "gatelodge")
			s.called(erasing(booted)...)
			s.leaves(before)
			s.userStays()
		})
	}
}

// erasing are the calls of a removal, with those of the role if there is one.
func erasing(booted bool, role ...string) []string {
	disable := "systemctl --no-reload disable gatelodge.service"
	if booted {
		disable = "systemctl --no-reload disable --now gatelodge.service"
	}
	return append(append([]string{disable}, role...), whenBooted(booted, reload)...)
}

// installed checks a package that has just been installed.
func (s *rpmSystem) installed(file, version string) {
	s.t.Helper()
	// Sizes, sums, modes, owners and dependencies of all its files.
	if said := s.works("--verify", "gatelodge"); said != "" {
		s.t.Errorf("rpm --verify says\n%s", said)
	}
	if said, want := s.works("--query", "gatelodge", "--queryformat", "%{VERSION}"), version; said != want {
		s.t.Errorf("version %s, want %s", said, want)
	}
	if program := s.read("usr/bin/gatelodge"); !strings.HasSuffix(program, "# "+version+"\n") {
		s.t.Errorf("the program is not that of %s:\n%s", file, program)
	}
	tree := s.tree()
	for name, mode := range map[string]fs.FileMode{
		"etc/gatelodge": fs.ModeDir | 0o755, "usr/bin/gatelodge": 0o755,
		"usr/lib/systemd/system/gatelodge.service": 0o644, "usr/lib/sysusers.d/gatelodge.conf": 0o644,
		"usr/lib/systemd/networkd.conf.d/10-gatelodge.conf": 0o644, "usr/share/man/man1/gatelodge.1.gz": 0o644,
		"usr/share/bash-completion/completions/gatelodge": 0o644, "usr/share/doc/gatelodge/LICENSE": 0o644,
	} {
		if got, ok := tree[name]; !ok || got != mode {
			s.t.Errorf("%s is %v, want %v", name, got, mode)
		}
	}
	if _, err := os.Lstat(s.path("etc/systemd/system/multi-user.target.wants")); err == nil {
		s.t.Error("something was enabled")
	}
	s.userStays()
}

func (s *rpmSystem) userStays() {
	s.t.Helper()
	var found []string
	for _, line := range strings.Split(s.read("etc/passwd"), "\n") {
		if strings.HasPrefix(line, "gatelodge:") {
			found = append(found, line)
		}
	}
	if len(found) != 1 || !strings.HasSuffix(found[0], ":Gatelodge:/var/lib/gatelodge:/usr/sbin/nologin") {
		s.t.Errorf("users: %q", found)
	}
}

func TestRPMScriptsSurviveWhatFails(t *testing.T) {
	t.Parallel()
	s := newRPMSystem(t, true)
	s.provide("systemd", "252")
	s.provide("nftables", "1.0.9")
	s.write("usr/bin/systemctl", caller("systemctl")+"[ \"$1\" = daemon-reload ]\n", 0o755)
	s.write("etc/systemd/system/gatelodge.service", "", 0o644)
	file := s.gatelodge(earlier)
	said := s.works("--install", file)
	for _, want := range []string{"did not start again: see journalctl", "/usr/local/bin/gatelodge uninstall"} {
		if !strings.Contains(said, want) {
			t.Errorf("nobody says %q:\n%s", want, said)
		}
	}
	s.called(reload, restart)
	s.write("etc/gatelodge/gate.toml", "", 0o600)
	s.write("usr/bin/gatelodge", caller("gatelodge")+"exit 1\n", 0o755)
	said = s.works("--erase", "gatelodge")
	for _, want := range []string{"could not be stopped and disabled", "a reboot removes the rest"} {
		if !strings.Contains(said, want) {
			t.Errorf("nobody says %q:\n%s", want, said)
		}
	}
	s.called(erasing(true, "gatelodge down")...)
	s.refuses("is not installed", "--query", "gatelodge")
}

func TestRPMLeavesAnotherInstallationAlone(t *testing.T) {
	t.Parallel()
	s := newRPMSystem(t, true)
	s.provide("systemd", "252")
	s.provide("nftables", "1.0.9")
	s.works("--install", s.gatelodge(earlier))
	s.called(reload, restart)
	s.write("etc/gatelodge/installed.json", "{}", 0o600)
	s.write("etc/gatelodge/gate.toml", "", 0o600)
	s.works("--erase", "gatelodge")
	s.called(reload)
}

func TestRPMWithoutDocuments(t *testing.T) {
	t.Parallel()
	s := newRPMSystem(t, false)
	s.provide("systemd", "252")
	s.provide("nftables", "1.0.9")
	s.works("--install", "--excludedocs", s.gatelodge(earlier))
	tree := s.tree()
	for _, name := range []string{"usr/share/man/man1/gatelodge.1.gz", "usr/share/doc/gatelodge/README.md", "usr/share/doc/gatelodge/docs/commands.md"} {
		if _, ok := tree[name]; ok {
			t.Errorf("%s is there", name)
		}
	}
	for _, name := range []string{"usr/share/doc/gatelodge/LICENSE", "usr/share/doc/gatelodge/third-party-licenses.gz"} {
		if _, ok := tree[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}
