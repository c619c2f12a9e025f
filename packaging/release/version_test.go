package main

import (
	"slices"
	"strings"
	"testing"
)

func TestVersions(t *testing.T) {
	for describe, want := range map[string][2]string{
		"43a113ea8":                     {"0.1.0~git202611230453.43a113ea8", "0.1.0_pre202611230453"},
		"43a113ea8-dirty":               {"0.1.0~git202611230453.43a113ea8.dirty", "0.1.0_pre202611230453"},
		"v0.1.0-0-g43a113ea8":           {"0.1.0", "0.1.0"},
		"v0.1.0-12-g43a113ea8":          {"0.1.0+12.g43a113ea8", "0.1.0_p12"},
		"v1.0.0-rc1-0-g43a113ea8":       {"1.0.0~rc1", "1.0.0_rc1"},
		"v1.0.0-rc1-3-g43a113ea8-dirty": {"1.0.0~rc1+3.g43a113ea8.dirty", "1.0.0_rc1_p3"},
	} {
		version, err := versionFrom(describe, date)
		if err != nil || version != want[0] {
			t.Errorf("%s: got %q, %v; want %q", describe, version, err, want[0])
		}
		if !debian.MatchString(version) {
			t.Errorf("%s: %q is no version for Debian", describe, version)
		}
		if v, err := alpineVersion(version); err != nil || v != want[1] {
			t.Errorf("%s: got %q, %v; want %q for Alpine", describe, v, err, want[1])
		}
	}
}

func TestVersionsThatAreNone(t *testing.T) {
	if v, err := versionFrom("v1.0", date); err == nil {
		t.Errorf("got %q", v)
	}
	for _, asked := range []string{"v1", "1-1", "1 0", "1/0"} {
		if v, err := releaseVersion(source, asked, date); err == nil {
			t.Errorf("%q: got %q", asked, v)
		}
	}
	if v, err := alpineVersion("0.1.0~test.vm"); err == nil {
		t.Errorf("got %q", v)
	}
}

func TestReleaseDateIsWhatTheEnvironmentSays(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1795409589")
	if got, err := releaseDate(t.TempDir()); err != nil || got.Unix() != 1795409589 {
		t.Errorf("got %v, %v", got, err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "today")
	if got, err := releaseDate(t.TempDir()); err == nil {
		t.Errorf("got %v", got)
	}
}

func TestOrders(t *testing.T) {
	o, err := parseOrder([]string{"-out", "d", "-arch", "amd64,armv7", "-formats", "none"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.archs, []string{"amd64", "armv7"}) || len(o.formats) != 0 || !o.foreign {
		t.Errorf("got %+v", o)
	}
	for wrong, want := range map[string]string{
		"":                       "-out",
		"-out d -arch mips":      "mips",
		"-out d -formats snap":   "snap",
		"-out d -binary some/it": "-arch",
	} {
		if _, err := parseOrder(strings.Fields(wrong)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want something about %s", wrong, err, want)
		}
	}
}

func TestForeignBinaries(t *testing.T) {
	for name, want := range map[string][]string{
		"amd64": {"arm64"}, "arm64": {"amd64"}, "armv7": {"amd64", "arm64"}, "riscv64": {"amd64", "arm64"},
	} {
		if got := foreignTo(name); !slices.Equal(got, want) {
			t.Errorf("%s carries %v, want %v", name, got, want)
		}
	}
}
