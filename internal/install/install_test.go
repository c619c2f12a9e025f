package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/packaging"
)

// machine plays the parts of a machine that are not files.
type machine struct {
	calls  []string
	active bool
	user   bool
	failOn string
}

func (m *machine) call(name string) error {
	m.calls = append(m.calls, name)
	if name == m.failOn {
		return errors.New(name + " fails")
	}
	return nil
}

func (m *machine) Active(context.Context) (bool, error) {
	if m.failOn == "is-active" {
		return false, errors.New("no systemctl")
	}
	return m.active, nil
}
func (m *machine) Restart(context.Context) error          { return m.call("restart") }
func (m *machine) Disable(context.Context) error          { return m.call("disable") }
func (m *machine) DaemonReload(context.Context) error     { return m.call("daemon-reload") }
func (m *machine) exists(string) (bool, error)            { return m.user, nil }
func (m *machine) add(context.Context, string) error      { m.user = true; return m.call("add user") }
func (m *machine) remove(context.Context, string) error   { m.user = false; return m.call("remove user") }
func (m *machine) nobody(context.Context) (string, error) { return "", nil }

// newOptions installs under a folder, as if that were a machine's root.
func newOptions(t *testing.T) Options {
	t.Helper()
	program := filepath.Join(t.TempDir(), "gatelodge")
	if err := os.WriteFile(program, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Options{Root: t.TempDir(), Program: program}
}

// tree lists what lies under a folder, with modes.
func tree(t *testing.T, root string) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		list = append(list, info.Mode().String()+" "+strings.TrimPrefix(path, root))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list[1:], "\n")
}

func TestInstallAndUninstallLeaveNothing(t *testing.T) {
	o := newOptions(t)
	if err := os.MkdirAll(o.path("/usr/local"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := tree(t, o.Root)
	done, err := Install(t.Context(), o)
	if err != nil || len(done) != 1 {
		t.Fatalf("%v, %q", err, done)
	}
	if got := tree(t, o.Root); !strings.Contains(got, "-rwxr-xr-x /usr/local/bin/gatelodge") {
		t.Errorf("installed:\n%s", got)
	}
	if again, err := Install(t.Context(), o); err != nil || len(again) != 0 {
		t.Errorf("again: %v, %q", err, again)
	}
	if replaced, err := CanUninstall(t.Context(), o, true); err != nil || replaced {
		t.Errorf("%v, replaced: %t", err, replaced)
	}
	if _, err := Uninstall(t.Context(), o, false); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, o.Root); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if _, err := Uninstall(t.Context(), o, false); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("a second time: %v", err)
	}
}

func TestUninstallKeepsWhatTheOwnerWrote(t *testing.T) {
	for _, purge := range []bool{false, true} {
		o := newOptions(t)
		if _, err := Install(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"/etc/gatelodge/gate.toml", "/var/lib/gatelodge/gate.json", "/run/gatelodge/journal.json"} {
			if err := os.MkdirAll(filepath.Dir(o.path(name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(o.path(name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Uninstall(t.Context(), o, purge); err != nil {
			t.Fatal(err)
		}
		got := tree(t, o.Root)
		for _, name := range []string{"gate.toml", "gate.json"} {
			if kept := strings.Contains(got, name); kept == purge {
				t.Errorf("purge %t: %s kept: %t", purge, name, kept)
			}
		}
		if strings.Contains(got, "journal.json") || strings.Contains(got, "installed.json") || strings.Contains(got, "bin/gatelodge") {
			t.Errorf("purge %t leaves\n%s", purge, got)
		}
	}
}

// onMachine makes "/" of the options, which is where a service is, another
// folder: the paths are those of a machine, the files are not.
func onMachine(t *testing.T, m *machine) Options {
	o := newOptions(t)
	o.service, o.users, o.owner, o.booted = m, m, m.nobody, func() bool { return true }
	return o
}

func TestAService(t *testing.T) {
	m := &machine{}
	o := onMachine(t, m)
	files := Options{Root: "/", booted: o.booted}.files([]byte("program"))
	if len(files) != 3 {
		t.Fatalf("%d files", len(files))
	}
	for _, f := range files {
		text := string(f.data)
		if f.name == unitFile && (!strings.Contains(text, "ExecStart="+Program+" run") || strings.Contains(text, packaging.Program+" ")) {
			t.Errorf("the unit runs another program:\n%s", text)
		}
	}
	service := Options{Root: "/", service: m, users: m, booted: o.booted}
	if done, err := service.register(t.Context()); err != nil || len(done) != 1 {
		t.Errorf("%v, %q", err, done)
	}
	m.active = true
	if _, err := service.register(t.Context()); err != nil {
		t.Error(err)
	}
	if want := []string{"add user", "daemon-reload", "daemon-reload", "restart"}; !slices.Equal(m.calls, want) {
		t.Errorf("called %q, wanted %q", m.calls, want)
	}
}

// Without systemctl an installation could neither be finished nor undone.
func TestNothingIsBegunWithoutSystemctl(t *testing.T) {
	m := &machine{failOn: "is-active"}
	o := onMachine(t, m)
	o.whole = true
	before := tree(t, o.Root)
	if _, err := Install(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no systemctl") {
		t.Errorf("the error is %v", err)
	}
	if after := tree(t, o.Root); after != before || len(m.calls) > 0 {
		t.Errorf("it was begun: %s%v", after, m.calls)
	}
}

func TestAPackageIsLeftToItsManager(t *testing.T) {
	o := Options{Root: "/", owner: func(context.Context) (string, error) { return "dpkg", nil }}
	_, err := Install(t.Context(), o)
	packaged, ok := errors.AsType[*PackagedError](err)
	if !ok || packaged.RemoveHint() != "apt purge gatelodge" {
		t.Errorf("installing: %v", err)
	}
}

// takenOver is a machine on which a package came after Install.
func takenOver(t *testing.T, m *machine) (o Options, kept []string) {
	t.Helper()
	o = onMachine(t, m)
	o.whole = true
	if _, err := Install(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	kept = []string{packaging.Program, "/etc/gatelodge/gate.toml", "/var/lib/gatelodge/gate.json", "/run/gatelodge/journal.json"}
	for _, name := range kept {
		if err := makeFolders(filepath.Dir(o.path(name))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(o.path(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.owner = func(context.Context) (string, error) { return "dpkg", nil }
	m.calls = nil
	return o, kept
}

// A package that has come after keeps its service, and the machine its role.
func TestUninstallGivesWayToAPackage(t *testing.T) {
	for _, active := range []bool{false, true} {
		m := &machine{active: active}
		o, kept := takenOver(t, m)
		if replaced, err := CanUninstall(t.Context(), o, false); err != nil || !replaced {
			t.Errorf("%v, replaced: %t", err, replaced)
		}
		if _, err := Uninstall(t.Context(), o, false); err != nil {
			t.Fatal(err)
		}
		want := []string{"daemon-reload"}
		if active {
			want = append(want, "restart")
		}
		if !slices.Equal(m.calls, want) || !m.user {
			t.Errorf("called %q, wanted %q; the user stays: %t", m.calls, want, m.user)
		}
		for _, name := range kept {
			if _, err := os.Stat(o.path(name)); err != nil {
				t.Error(err)
			}
		}
		for _, name := range []string{Program, unitFile, networkd, recordFile} {
			if _, err := os.Lstat(o.path(name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is still there: %v", name, err)
			}
		}
	}
}

func TestAPackagesKeysAreNotPurged(t *testing.T) {
	m := &machine{active: true}
	o, _ := takenOver(t, m)
	before := tree(t, o.Root)
	_, can := CanUninstall(t.Context(), o, true)
	_, does := Uninstall(t.Context(), o, true)
	for _, err := range []error{can, does} {
		packaged, ok := errors.AsType[*PackagedError](err)
		if !ok || packaged.RemoveHint() != "gatelodge uninstall; then apt purge gatelodge" {
			t.Errorf("purging: %v", err)
		}
	}
	if after := tree(t, o.Root); after != before || len(m.calls) > 0 {
		t.Errorf("called %q, before:\n%s\nafter:\n%s", m.calls, before, after)
	}
}

// An interrupted installation can be undone.
func TestInterrupted(t *testing.T) {
	o := newOptions(t)
	if err := o.announce(&record{}, o.withDefaults().files(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := Uninstall(t.Context(), o, true); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, o.Root); got != "" {
		t.Errorf("left:\n%s", got)
	}
}

func TestADamagedRecordIsSaid(t *testing.T) {
	o := newOptions(t)
	if err := os.MkdirAll(o.path("/etc/gatelodge"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.path(recordFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := CanUninstall(t.Context(), o, false); err == nil || errors.Is(err, ErrNotInstalled) {
		t.Errorf("said: %v", err)
	}
}
