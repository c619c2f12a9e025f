package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goreleaser/nfpm/v2"
)

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(source, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// README installs what its make release makes: the name of the file follows
// from the version that is asked for there.
func TestREADMEInstallsWhatIsMade(t *testing.T) {
	text := document(t, "README.md")
	asked := regexp.MustCompile(`make release VERSION=(\S+)`).FindStringSubmatch(text)
	installed := regexp.MustCompile(`apt install \./(?:dist/)?(\S+\.deb)`).FindStringSubmatch(text)
	if asked == nil || installed == nil {
		t.Fatal("README shows no make release VERSION=…, or no apt install")
	}
	r, p := small(t, date)
	r.version = asked[1]
	if !debian.MatchString(r.version) {
		t.Fatalf("%s is no version", r.version)
	}
	info, err := r.info("amd64", "deb", p)
	if err != nil {
		t.Fatal(err)
	}
	packager, err := nfpm.Get("deb")
	if err != nil {
		t.Fatal(err)
	}
	if name := packager.ConventionalFileName(nfpm.WithDefaults(info)); name != installed[1] {
		t.Errorf("make release makes %s, and README installs %s", name, installed[1])
	}
}

// make release hands a version on that was asked for, and lets git say it
// otherwise.
func TestMakeReleaseTakesAVersion(t *testing.T) {
	for asked, want := range map[string]string{
		"": "", "VERSION=0.1.0": " -version '0.1.0'", "VERSION=v0.1.0": " -version '0.1.0'", "VERSION=0.2.0~rc1": " -version '0.2.0~rc1'",
	} {
		args := []string{"--dry-run", "--no-print-directory", "release"}
		if asked != "" {
			args = append(args, asked)
		}
		said, err := command(source, []string{"MAKEFLAGS="}, "make", args...)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(strings.TrimSpace(said), "/dist"+want) {
			t.Errorf("make release %s runs %q, not with %q", asked, said, want)
		}
	}
}

// A package holds what its documents link to, in the same place.
func TestLinksHoldInPackages(t *testing.T) {
	renamed := map[string]bool{"CHANGELOG.md": true, "LICENSE": true} // changelog.gz, and copyright or LICENSE beside it
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	r, p := small(t, date)
	contents, err := r.contents("deb", p)
	if err != nil {
		t.Fatal(err)
	}
	const doc = "/usr/share/doc/gatelodge/"
	packed, links := map[string]bool{}, 0
	for _, c := range contents {
		if below, ok := strings.CutPrefix(c.Destination, doc); ok {
			packed[below] = true
		}
	}
	for name := range packed {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(document(t, name), -1) {
			links++
			if to := path.Join(path.Dir(name), m[1]); !packed[to] && !renamed[to] {
				t.Errorf("%s links to %s, which is in no package", name, to)
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links", links)
	}
}

// init, the first command of README, needs ssh.
func TestPackagesRecommendSSH(t *testing.T) {
	for format, want := range map[string]string{"deb": "openssh-client", "rpm": "openssh-clients"} {
		r, p := small(t, date)
		info, err := r.info("amd64", format, p)
		if err != nil {
			t.Fatal(err)
		}
		if len(info.Recommends) != 1 || info.Recommends[0] != want {
			t.Errorf("%s recommends %q, not %s", format, info.Recommends, want)
		}
	}
}
