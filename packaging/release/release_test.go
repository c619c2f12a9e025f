package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goreleaser/nfpm/v2/files"
)

const source = "../.."

var date = time.Date(2026, 11, 23, 4, 53, 9, 0, time.UTC)

// small returns a release with a few bytes in place of all that takes long to
// make.
func small(t *testing.T, builtAt time.Time) (*release, parts) {
	t.Helper()
	r := &release{source: source, out: t.TempDir(), staging: t.TempDir(), version: "0.1.0~git202611230453.43a113e", date: date}
	for _, name := range []string{
		"binary", "foreign.gz", "third-party-licenses.gz",
		"manual/man1/gatelodge.1.gz", "manual/man5/gate.toml.5.gz",
		"manual/bash/gatelodge", "manual/zsh/_gatelodge", "manual/fish/gatelodge.fish",
		"manual/man1/gatelodge-lab.1.gz", "manual/man1/gatelodge-lab-shell.1.gz",
		"manual/bash/gatelodge-lab", "manual/zsh/_gatelodge-lab", "manual/fish/gatelodge-lab.fish",
	} {
		file := filepath.Join(r.staging, name)
		if err := writeCompressed(file, []byte(name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, builtAt, builtAt); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.stageChangelogs(); err != nil {
		t.Fatal(err)
	}
	return r, parts{
		program:  gatelodge,
		binary:   filepath.Join(r.staging, "binary"),
		licences: filepath.Join(r.staging, "third-party-licenses.gz"),
		foreign:  map[string]string{"arm64": filepath.Join(r.staging, "foreign.gz"), "amd64": filepath.Join(r.staging, "foreign.gz")},
	}
}

// ofLaboratory are the same parts in the package of gatelodge-lab.
func (p parts) ofLaboratory() parts {
	p.program, p.foreign = laboratory, nil
	return p
}

func TestPackagesAreTheSameWhereverAndWheneverTheyAreMade(t *testing.T) {
	var sums []string
	for _, builtAt := range []time.Time{date, date.Add(time.Hour)} {
		r, p := small(t, builtAt)
		for _, p := range []parts{p, p.ofLaboratory()} {
			for format := range p.program.formats {
				for arch := range archs {
					if err := r.pack(arch, format, p); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := r.writeSums(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(r.out, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(text))
	}
	if want := (len(gatelodge.formats) + len(laboratory.formats)) * len(archs); strings.Count(sums[0], "\n") != want {
		t.Errorf("want %d packages, got:\n%s", want, sums[0])
	}
	if sums[0] != sums[1] {
		t.Errorf("the sums differ:\n%s\n%s", sums[0], sums[1])
	}
}

func TestPackagesHoldWhatTheyMust(t *testing.T) {
	const units, openrc = "systemd/system/gatelodge.service", "/etc/init.d/gatelodge"
	common := []string{
		"/etc/gatelodge", "/usr/bin/gatelodge", "/usr/lib/gatelodge/gatelodge-linux-arm64.gz",
		"/usr/share/man/man1/gatelodge.1.gz", "/usr/share/man/man5/gate.toml.5.gz",
		"/usr/share/bash-completion/completions/gatelodge", "/usr/share/doc/gatelodge/README.md",
		"/usr/share/doc/gatelodge/examples/mail/gate.toml", "/usr/share/doc/gatelodge/docs/commands.md",
		"/usr/share/doc/gatelodge/ARCHITECTURE.md", "/usr/share/doc/gatelodge/docs/releasing.md", "/usr/share/doc/gatelodge/docs/img/packet.svg",
		"/usr/share/doc/gatelodge/third-party-licenses.gz",
	}
	systemd := []string{"/usr/lib/sysusers.d/gatelodge.conf", "/usr/lib/systemd/networkd.conf.d/10-gatelodge.conf"}
	for format, want := range map[string][]string{
		"deb": append(systemd, "/lib/"+units, "/usr/share/doc/gatelodge/changelog.Debian.gz", "/usr/share/doc/gatelodge/copyright", "/usr/share/lintian/overrides/gatelodge"),
		"rpm": append(systemd, "/usr/lib/"+units, "/usr/share/doc/gatelodge/LICENSE"),
		"apk": {openrc, "/usr/share/doc/gatelodge/LICENSE"},
	} {
		r, p := small(t, date)
		contents, err := r.contents(format, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range append(want, common...) {
			if !slices.ContainsFunc(contents, func(c *files.Content) bool { return c.Destination == file }) {
				t.Errorf("%s has no %s", format, file)
			}
		}
		for _, c := range contents {
			if !c.FileInfo.MTime.Equal(date) || c.FileInfo.Owner != "root" || c.FileInfo.Mode == 0 {
				t.Errorf("%s: %s leaves something to this machine: %+v", format, c.Destination, c.FileInfo)
			}
		}
	}
}

// The laboratory's package holds nothing but the program and what describes it,
// and shares no file with gatelodge's, beside which it is installed.
func TestPackagesOfTheLaboratory(t *testing.T) {
	common := []string{
		"/usr/bin/gatelodge-lab", "/usr/share/man/man1/gatelodge-lab.1.gz", "/usr/share/man/man1/gatelodge-lab-shell.1.gz",
		"/usr/share/bash-completion/completions/gatelodge-lab", "/usr/share/fish/vendor_completions.d/gatelodge-lab.fish",
		"/usr/share/doc/gatelodge-lab", "/usr/share/doc/gatelodge-lab/third-party-licenses.gz", "/usr/share/doc/gatelodge-lab/changelog.gz",
	}
	for format, want := range map[string]struct {
		files, depends []string
	}{
		"deb": {
			[]string{"/usr/share/zsh/vendor-completions/_gatelodge-lab", "/usr/share/doc/gatelodge-lab/changelog.Debian.gz", "/usr/share/doc/gatelodge-lab/copyright", "/usr/share/lintian/overrides/gatelodge-lab"},
			[]string{"gatelodge (>= 0.1.0~git202611230453.43a113e)", "iproute2"},
		},
		"rpm": {
			[]string{"/usr/share/zsh/site-functions/_gatelodge-lab", "/usr/share/doc/gatelodge-lab/LICENSE"},
			[]string{"gatelodge >= 0.1.0~git202611230453.43a113e", "iproute", "util-linux"},
		},
		"apk": {
			[]string{"/usr/share/zsh/site-functions/_gatelodge-lab", "/usr/share/doc/gatelodge-lab/LICENSE"},
			[]string{"gatelodge>=0.1.0_pre202611230453", "iproute2"},
		},
	} {
		r, p := small(t, date)
		info, err := r.info("amd64", format, p.ofLaboratory())
		if err != nil {
			t.Fatal(err)
		}
		if info.Name != "gatelodge-lab" || !slices.Equal(info.Depends, want.depends) || len(info.Suggests) > 0 || info.Scripts.PostInstall+info.Scripts.PreRemove+info.Scripts.PostRemove != "" {
			t.Errorf("%s: %+v", format, info)
		}
		got, all := destinations(info.Contents), append(want.files, common...)
		slices.Sort(all)
		if !slices.Equal(got, all) {
			t.Errorf("%s holds\n%s\nwant\n%s", format, strings.Join(got, "\n"), strings.Join(all, "\n"))
		}
		contents, err := r.contents(format, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range destinations(contents) {
			if slices.Contains(all, file) {
				t.Errorf("%s: both packages hold %s", format, file)
			}
		}
	}
}

func destinations(contents files.Contents) []string {
	var all []string
	for _, c := range contents {
		all = append(all, c.Destination)
	}
	slices.Sort(all)
	return all
}

func TestAMissingFileIsAnError(t *testing.T) {
	r, p := small(t, date)
	p.binary = filepath.Join(r.staging, "absent")
	if err := r.pack("amd64", "deb", p); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("got %v", err)
	}
}

func TestScriptsAreShell(t *testing.T) {
	scripts := []string{source + "/packaging/gatelodge.openrc"}
	for kind, f := range gatelodge.formats {
		for moment, name := range f.scripts {
			if name == "" {
				t.Errorf("%s has no script for %s", kind, moment)
			}
			scripts = append(scripts, filepath.Join(source, "packaging", kind, name))
		}
		there, err := os.ReadDir(filepath.Join(source, "packaging", kind))
		if err != nil {
			t.Fatal(err)
		}
		if len(there) != len(f.scripts) {
			t.Errorf("packaging/%s holds %d scripts, and %d are in use", kind, len(there), len(f.scripts))
		}
	}
	for _, script := range scripts {
		if out, err := exec.Command("sh", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(script) != "gatelodge.openrc" && !bytes.Contains(text, []byte("\nset -e\n")) {
			t.Errorf("%s goes on after an error", script)
		}
	}
}

func TestTheServiceRunsWhatThePackageInstalls(t *testing.T) {
	for file, want := range map[string]string{
		"gatelodge.service":  "ExecStart=/usr/bin/gatelodge run",
		"gatelodge.openrc":   `command="/usr/bin/gatelodge"`,
		"gatelodge.sysusers": "u gatelodge",
		"networkd.conf":      "ManageForeignRoutingPolicyRules=no",
	} {
		text, err := os.ReadFile(filepath.Join(source, "packaging", file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %q", file, want)
		}
	}
}

func TestBill(t *testing.T) {
	info, ok := debug.ReadBuildInfo()
	if !ok || len(info.Deps) == 0 {
		t.Fatal("this test was built without modules")
	}
	b, err := newBill(info, sha256.Sum256([]byte("binary")), "0.1.0~git1.abc", date)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Format     string `json:"bomFormat"`
		Spec       string `json:"specVersion"`
		Serial     string `json:"serialNumber"`
		Version    int
		Metadata   struct{ Timestamp string }
		Components []struct {
			Type, Name, Version, Purl string
			Ref                       string `json:"bom-ref"`
			Hashes                    []struct{ Alg, Content string }
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Format != "CycloneDX" || got.Spec != "1.5" || got.Version != 1 || got.Metadata.Timestamp != "2026-11-23T04:53:09Z" {
		t.Errorf("head: %+v", got)
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(got.Serial) {
		t.Errorf("serial number %s", got.Serial)
	}
	if want := len(info.Deps) + 1; len(got.Components) != want {
		t.Errorf("want %d components, got %d", want, len(got.Components))
	}
	seen := map[string]bool{}
	for _, c := range got.Components {
		if c.Type != "library" || c.Name == "" || c.Version == "" || !strings.HasPrefix(c.Purl, "pkg:golang/"+c.Name+"@") || seen[c.Ref] {
			t.Errorf("component %+v", c)
		}
		seen[c.Ref] = true
		for _, h := range c.Hashes {
			if h.Alg != "SHA-256" || len(h.Content) != 64 {
				t.Errorf("%s: hash %+v", c.Name, h)
			}
		}
	}
}

func TestLicencesMustBeThere(t *testing.T) {
	if text, err := licencesIn("Gatelodge", source); err != nil || !strings.Contains(text, "Apache License") {
		t.Errorf("our own: %v", err)
	}
	if _, err := licencesIn("nobody's", t.TempDir()); err == nil {
		t.Error("a module without a licence passed")
	}
}

func TestLinkerFlagsAreThoseOfMakeBuild(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(source, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "LDFLAGS  := " + linkerFlags("$(VERSION)"); !strings.Contains(string(makefile), want) {
		t.Errorf("the Makefile has no line %q", want)
	}
}
