package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// firstVersion is what is being worked towards while there is no tag.
const firstVersion = "0.1.0"

var (
	described = regexp.MustCompile(`^(?:v([0-9][0-9.]*)(?:-([A-Za-z0-9.]+))?-([0-9]+)-g)?([0-9a-f]+)(-dirty)?$`)
	debian    = regexp.MustCompile(`^[0-9][A-Za-z0-9.+~]*$`)
	alpine    = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*$`)
)

// versionFrom makes a version that sorts as it should from the words of
// git describe --long --always --dirty: below the next release without a tag,
// above the tag after one.
func versionFrom(describe string, date time.Time) (string, error) {
	m := described.FindStringSubmatch(describe)
	if m == nil {
		return "", fmt.Errorf("git describe says %q, which is no version: give -version", describe)
	}
	tag, prerelease, commits, hash, dirty := m[1], m[2], m[3], m[4], m[5] != ""
	version := tag
	switch {
	case tag == "":
		version = firstVersion + "~git" + date.UTC().Format("200601021504") + "." + hash
	case prerelease != "":
		version += "~" + prerelease
	}
	if tag != "" && commits != "0" {
		version += "+" + commits + ".g" + hash
	}
	if dirty {
		version += ".dirty"
	}
	return version, nil
}

var (
	alpineBefore = regexp.MustCompile(`~git([0-9]+)\.[0-9a-f]+`)
	alpineAfter  = regexp.MustCompile(`\+([0-9]+)\.g[0-9a-f]+`)
)

// alpineVersion says the same in the words that apk knows: no hashes, and _pre
// and _p for before and after.
func alpineVersion(version string) (string, error) {
	v := strings.TrimSuffix(version, ".dirty")
	v = alpineBefore.ReplaceAllString(v, "_pre$1")
	v = alpineAfter.ReplaceAllString(v, "_p$1")
	v = strings.Replace(v, "~", "_", 1)
	if !alpine.MatchString(v) {
		return "", fmt.Errorf("version %q cannot be written as apk wants it: leave apk out of -formats, or give another -version", version)
	}
	return v, nil
}

// releaseDate is the time that all files bear: SOURCE_DATE_EPOCH, or that of
// the commit.
func releaseDate(source string) (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		var err error
		if epoch, err = git(source, "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, fmt.Errorf("the date of the commit: %w; outside of git, set SOURCE_DATE_EPOCH", err)
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is no number of seconds: %q", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func releaseVersion(source, asked string, date time.Time) (string, error) {
	version := asked
	if version == "" {
		describe, err := git(source, "describe", "--tags", "--match", "v[0-9]*", "--long", "--always", "--dirty", "--abbrev=9")
		if err != nil {
			return "", fmt.Errorf("the version: %w; outside of git, give -version", err)
		}
		if version, err = versionFrom(describe, date); err != nil {
			return "", err
		}
	}
	if !debian.MatchString(version) {
		return "", fmt.Errorf("version %q: it must begin with a digit and hold only letters, digits, and . + ~", version)
	}
	return version, nil
}

func git(dir string, args ...string) (string, error) {
	out, err := command(dir, nil, "git", args...)
	return strings.TrimSpace(out), err
}

// command runs a program and returns what it printed; what it complained about
// is in the error.
func command(dir string, environment []string, name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), environment...)
	var complaint strings.Builder
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return string(out), nil
}
