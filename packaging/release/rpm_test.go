package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/nfpm/v2"
)

// The versions that are installed and upgraded to: a tag is newer than what
// was built on the way to it.
const earlier, later = "0.1.0~git202611230453.43a113e", "0.1.0"

// The database of installed packages, and what makes a user: neither is looked
// at when something is said to be as before.
var accounts = []string{"etc/.pwd.lock", "etc/group-", "etc/gshadow", "etc/passwd-", "etc/shadow", "calls"}

// rpmSystem is the tree of a system on which rpm(8) installs packages for real
// and runs their scripts. systemctl and gatelodge are replaced by scripts that
// write down how they were called.
type rpmSystem struct {
	t    *testing.T
	root string
	home string // rpm's own files
}

// newRPMSystem makes a tree with a shell and systemd-sysusers. Booted says
// whether systemd seems to run it, or whether it is the tree of an image.
func newRPMSystem(t *testing.T, booted bool) *rpmSystem {
	t.Helper()
	s := &rpmSystem{t: t, root: t.TempDir(), home: t.TempDir()}
	for _, folder := range []string{
		"dev", "etc/systemd/system", "run", "tmp", "usr/bin", "usr/lib/systemd/system", "usr/lib/sysusers.d", "usr/lib64", "usr/sbin",
		"usr/share/doc", "usr/share/man/man1", "usr/share/man/man5", "var/lib/rpm", "var/tmp",
	} {
		s.must(os.MkdirAll(s.path(folder), 0o755))
	}
	for _, merged := range []string{"bin", "lib", "lib64", "sbin"} {
		s.must(os.Symlink("usr/"+merged, s.path(merged)))
	}
	s.bring("sh")
	s.bring("systemd-sysusers")
	s.write("dev/null", "", 0o644)
	s.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)
	s.write("etc/group", "root:x:0:\n", 0o644)
	s.write("usr/bin/systemctl", caller("systemctl"), 0o755)
	if booted {
		s.must(os.MkdirAll(s.path("run/systemd/system"), 0o755))
	}
	return s
}

// caller is a program that only writes down how it was called.
func caller(name string) string { return "#!/bin/sh\necho \"" + name + " $*\" >>/calls\n" }

func (s *rpmSystem) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *rpmSystem) path(name string) string { return filepath.Join(s.root, name) }

func (s *rpmSystem) write(name, text string, mode fs.FileMode) {
	s.t.Helper()
	s.must(os.MkdirAll(filepath.Dir(s.path(name)), 0o755))
	s.must(os.WriteFile(s.path(name), []byte(text), mode))
	s.must(os.Chmod(s.path(name), mode))
}

func (s *rpmSystem) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.path(name))
	s.must(err)
	return string(text)
}

// bring copies a program of this machine into the tree, with its libraries.
func (s *rpmSystem) bring(program string) {
	s.t.Helper()
	file, err := exec.LookPath(program)
	s.must(err)
	out, err := exec.Command("ldd", file).Output()
	s.must(err)
	s.copy(file, "/usr/bin/"+program)
	for _, word := range strings.Fields(string(out)) {
		if filepath.IsAbs(word) {
			s.copy(word, word)
		}
	}
}

func (s *rpmSystem) copy(from, to string) {
	s.t.Helper()
	content, err := os.ReadFile(from)
	s.must(err)
	s.write(to, string(content), 0o755)
}

// rpm runs rpm(8) upon the tree, in namespaces of its own: the tree needs a
// /dev/null, and nothing must reach this machine.
func (s *rpmSystem) rpm(args ...string) (string, error) {
	unshare := []string{"--mount", "--net"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--map-root-user")
	}
	const story = `root=$1; shift; mount --bind /dev/null "$root/dev/null" && exec rpm --root "$root" --dbpath /var/lib/rpm "$@"`
	c := exec.Command("unshare", append(append(unshare, "sh", "-c", story, "sh", s.root), args...)...)
	c.Env = append(os.Environ(), "HOME="+s.home, "LC_ALL=C.UTF-8")
	out, err := c.CombinedOutput()
	var said []string
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if !strings.HasPrefix(line, "rpm: ") { // Debian's rpm recommends another program
			said = append(said, line)
		}
	}
	return strings.Join(said, "\n"), err
}

// must not fail, and no script in it either: that is a warning only.
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

// called checks what the scripts have called since the last time.
func (s *rpmSystem) called(want ...string) {
	s.t.Helper()
	text, err := os.ReadFile(s.path("calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"); !slices.Equal(got, append([]string{}, want...)) && (len(want) > 0 || len(text) > 0) {
		s.t.Errorf("the scripts called\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s.must(os.RemoveAll(s.path("calls")))
}

// tree lists every file with its mode, but rpm's and those that hold accounts.
func (s *rpmSystem) tree() map[string]fs.FileMode {
	s.t.Helper()
	found := map[string]fs.FileMode{}
	s.must(filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, s.root+"/")
		if err != nil || slices.Contains(accounts, name) {
			return err
		}
		if name == "var/lib/rpm" {
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err == nil {
			found[name] = info.Mode()
		}
		return err
	}))
	return found
}

// leaves checks what there is more than before, and that nothing is less.
func (s *rpmSystem) leaves(before map[string]fs.FileMode, want ...string) {
	s.t.Helper()
	after := s.tree()
	var more []string
	for name, mode := range after {
		if _, ok := before[name]; !ok {
			more = append(more, fmt.Sprintf("%s %v", name, mode))
		}
	}
	slices.Sort(more)
	if !slices.Equal(more, want) {
		s.t.Errorf("left behind\n%s\nwant\n%s", strings.Join(more, "\n"), strings.Join(want, "\n"))
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			s.t.Errorf("%s is gone", name)
		}
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
	for _, want := range []string{"could not be stopped and disabled", "a reboot does it"} {
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
