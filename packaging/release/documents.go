package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

const maintainer = "The Gatelodge authors <gatelodge@users.noreply.github.com>"

// stageDocuments makes what is the same in all packages: manual pages and
// completions, which come from the program itself, and the changelogs.
func (r *release) stageDocuments() error {
	raw := filepath.Join(r.staging, "manual")
	fmt.Fprintln(os.Stderr, "writing manual pages")
	_, err := command(r.source, []string{"GOFLAGS=", "GOWORK=off"}, "go", "run", "./packaging/manual",
		"-out", raw, "-version", r.version, "-date", r.date.Format(time.DateOnly))
	if err != nil {
		return err
	}
	pages, err := filepath.Glob(filepath.Join(raw, "man*", "*"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		if err := writeCompressed(page+".gz", content); err != nil {
			return err
		}
	}
	return r.stageChangelogs()
}

func (r *release) stageChangelogs() error {
	changelog, err := os.ReadFile(filepath.Join(r.source, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	if err := writeCompressed(filepath.Join(r.staging, "changelog.gz"), changelog); err != nil {
		return err
	}
	for _, p := range []program{gatelodge, laboratory} {
		file := filepath.Join(r.staging, p.name, "changelog.Debian.gz")
		if err := writeCompressed(file, []byte(r.debianChangelog(p))); err != nil {
			return err
		}
	}
	return nil
}

// debianChangelog says that Debian's package is the release and no more.
func (r *release) debianChangelog(p program) string {
	return fmt.Sprintf("%s (%s-%s) unstable; urgency=medium\n\n"+
		"  * The release as it is; what changed in it is in changelog.gz.\n\n"+
		" -- %s  %s\n", p.name, r.version, packageRelease, maintainer, r.date.Format(time.RFC1123Z))
}

// stageLicences collects the licences of all that is linked into a binary:
// most ask that their text goes where the binary goes.
func (r *release) stageLicences(binary string) (string, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return "", err
	}
	root, err := command(r.source, nil, "go", "env", "GOROOT")
	if err != nil {
		return "", err
	}
	text, err := licencesIn("The Go standard library, "+info.GoVersion, strings.TrimSpace(root))
	if err != nil {
		return "", err
	}
	folders, err := r.moduleFolders(info.Deps)
	if err != nil {
		return "", err
	}
	for _, m := range info.Deps {
		licence, err := licencesIn(m.Path+" "+m.Version, folders[m.Path])
		if err != nil {
			return "", err
		}
		text += "\n" + licence
	}
	file := filepath.Join(r.staging, filepath.Base(binary)+".licences", "third-party-licenses.gz")
	return file, writeCompressed(file, []byte(text))
}

// moduleFolders asks Go where the sources of modules lie.
func (r *release) moduleFolders(modules []*debug.Module) (map[string]string, error) {
	folders := map[string]string{}
	if len(modules) == 0 {
		return folders, nil
	}
	args := []string{"list", "-m", "-f", "{{.Path}} {{.Dir}}"}
	for _, m := range modules {
		args = append(args, m.Path)
	}
	out, err := command(r.source, []string{"GOFLAGS=", "GOWORK=off"}, "go", args...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		folders[path] = dir
	}
	return folders, nil
}

// licencesIn returns the licences at the top of a folder, under a title.
func licencesIn(title, folder string) (string, error) {
	text := fmt.Sprintf("%s\n%s\n", title, strings.Repeat("=", len(title)))
	found := 0
	for _, pattern := range []string{"LICEN[CS]E*", "COPYING*", "NOTICE*"} {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			return "", err
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			text += "\n" + strings.TrimSpace(string(content)) + "\n"
			found++
		}
	}
	if folder == "" || found == 0 {
		return "", fmt.Errorf("no licence of %s in %q: go mod download may bring it", title, folder)
	}
	return text, nil
}
