package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/apk" // the formats register themselves
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// packageRelease counts packages of one version.
const packageRelease = "1"

// format is how one kind of package differs from the others.
type format struct {
	unit       string   // folder of systemd's units; none: another init
	zsh        string   // folder of completions for zsh
	owns       []string // folders that would be left behind: the others take them away by themselves
	manual     string   // type of manual pages and documents, for a machine that wants none
	licence    string   // type of the licence, which it gets nevertheless
	depends    []string
	recommends []string // what the first command of README needs, and a gate does not
	suggests   []string
	replaces   []string          // what is taken over from an earlier version, of whose files some are here now
	scripts    map[string]string // packaging/KIND/NAME by the moment it runs
}

// parts are the files of a package that differ between architectures.
type parts struct {
	program  program
	binary   string
	licences string
	foreign  map[string]string // compressed binaries, by architecture
}

// pack writes one package.
func (r *release) pack(archName, formatName string, p parts) error {
	info, err := r.info(archName, formatName, p)
	if err != nil {
		return err
	}
	packager, err := nfpm.Get(formatName)
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	name := packager.ConventionalFileName(info)
	fmt.Fprintln(os.Stderr, "packing", name)
	file, err := os.Create(filepath.Join(r.out, name))
	if err != nil {
		return err
	}
	if err := packager.Package(info, file); err != nil {
		file.Close()
		return err
	}
	r.made = append(r.made, name)
	return file.Close()
}

func (r *release) info(archName, formatName string, p parts) (*nfpm.Info, error) {
	version := r.version
	if formatName == "apk" {
		var err error
		if version, err = alpineVersion(version); err != nil {
			return nil, err
		}
	}
	contents, err := r.contents(formatName, p)
	if err != nil {
		return nil, err
	}
	f := p.program.formats[formatName]
	info := &nfpm.Info{
		Name: p.program.name, Arch: archs[archName].nfpm, Platform: "linux",
		Version: version, VersionSchema: "none", Release: packageRelease,
		Section: "net", Priority: "optional", Maintainer: maintainer,
		Description: p.program.description, Homepage: "https://" + module, License: "Apache-2.0",
		MTime: r.date, DisableGlobbing: true,
		Overridables: nfpm.Overridables{Depends: at(version, f.depends), Recommends: f.recommends, Suggests: f.suggests, Replaces: at(version, f.replaces), Contents: contents},
	}
	info.Deb.Breaks = info.Replaces // what is replaced in part is no longer whole
	info.RPM.Arch = archs[archName].rpm
	info.RPM.BuildHost = "localhost" // not the name of this machine
	info.RPM.Summary, _, _ = strings.Cut(p.program.description, "\n")
	if formatName == "apk" {
		info.Description = info.RPM.Summary
	}
	if formatName == "deb" {
		info.License = "" // Debian has it in the file "copyright"
	}
	r.setScripts(info, formatName, f)
	return info, nil
}

func (r *release) setScripts(info *nfpm.Info, formatName string, f format) {
	script := func(moment string) string {
		name := f.scripts[moment]
		if name == "" {
			return ""
		}
		return filepath.Join(r.source, "packaging", formatName, name)
	}
	info.Scripts = nfpm.Scripts{
		PostInstall: script("postinstall"),
		PreRemove:   script("preremove"),
		PostRemove:  script("postremove"),
	}
	info.APK.Scripts.PostUpgrade = script("postupgrade")
}

// at returns the relations of a package of that version.
func at(version string, relations []string) []string {
	var all []string
	for _, r := range relations {
		all = append(all, strings.ReplaceAll(r, "VERSION", version))
	}
	return all
}

// contents lists all files of a package, each with its mode and the date of
// the release.
func (r *release) contents(formatName string, p parts) (files.Contents, error) {
	f := p.program.formats[formatName]
	l := &listing{r: r}
	for _, folder := range f.owns {
		l.folder(folder)
	}
	l.file(p.binary, "/usr/bin/"+p.program.name, 0o755)
	l.foreign(p.foreign)
	if p.program.serves {
		l.folder("/etc/gatelodge")
		l.service(f)
	}
	l.manual(f, p.program)
	l.papers(formatName, p)
	if p.program.serves {
		l.documents(f)
	}
	return l.contents, l.err
}

// listing collects contents; the first error stays.
type listing struct {
	r        *release
	contents files.Contents
	err      error
}

func (l *listing) file(source, destination string, mode fs.FileMode) {
	l.typed("", source, destination, mode)
}

// typed lists a file of a type that only some package managers know.
func (l *listing) typed(kind, source, destination string, mode fs.FileMode) {
	if _, err := os.Stat(source); err != nil && l.err == nil {
		l.err = err
	}
	l.contents = append(l.contents, &files.Content{Type: kind, Source: source, Destination: destination, FileInfo: l.owned(mode)})
}

func (l *listing) folder(destination string) {
	l.contents = append(l.contents, &files.Content{Type: files.TypeDir, Destination: destination, FileInfo: l.owned(0o755)})
}

func (l *listing) owned(mode fs.FileMode) *files.ContentFileInfo {
	return &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: l.r.date}
}

// tree lists the files of a folder of the sources under another.
func (l *listing) tree(kind, source, destination string) {
	root := filepath.Join(l.r.source, source)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below := filepath.ToSlash(strings.TrimPrefix(file, root))
		if d.IsDir() {
			l.folder(path.Join(destination, below))
		} else {
			l.typed(kind, file, path.Join(destination, below), 0o644)
		}
		return nil
	})
	if err != nil && l.err == nil {
		l.err = err
	}
}

// foreign lists the programs that gatelodge init brings to other machines.
func (l *listing) foreign(binaries map[string]string) {
	for other, file := range binaries {
		l.file(file, "/usr/lib/gatelodge/"+binaryName(gatelodge.name, other)+".gz", 0o644)
	}
	if len(binaries) > 0 {
		l.folder("/usr/lib/gatelodge")
	}
}

// service lists what starts the daemon: systemd's files, or OpenRC's script.
func (l *listing) service(f format) {
	packaging := filepath.Join(l.r.source, "packaging")
	if f.unit == "" {
		l.file(filepath.Join(packaging, "gatelodge.openrc"), "/etc/init.d/gatelodge", 0o755)
		return
	}
	l.file(filepath.Join(packaging, "gatelodge.service"), f.unit+"/gatelodge.service", 0o644)
	l.file(filepath.Join(packaging, "gatelodge.sysusers"), "/usr/lib/sysusers.d/gatelodge.conf", 0o644)
	l.file(filepath.Join(packaging, "networkd.conf"), "/usr/lib/systemd/networkd.conf.d/10-gatelodge.conf", 0o644)
}

// manual lists the manual pages and completions of a program.
func (l *listing) manual(f format, p program) {
	manual := filepath.Join(l.r.staging, "manual")
	pages, err := filepath.Glob(filepath.Join(manual, "man*", "*.gz"))
	pages = slices.DeleteFunc(pages, func(page string) bool { return !p.describedBy(filepath.Base(page)) })
	if err == nil && len(pages) == 0 {
		err = fmt.Errorf("no manual pages of %s in %s", p.name, manual)
	}
	if err != nil && l.err == nil {
		l.err = err
	}
	for _, page := range pages {
		l.typed(f.manual, page, "/usr/share/man/"+filepath.Base(filepath.Dir(page))+"/"+filepath.Base(page), 0o644)
	}
	l.file(filepath.Join(manual, "bash", p.name), "/usr/share/bash-completion/completions/"+p.name, 0o644)
	l.file(filepath.Join(manual, "zsh", "_"+p.name), f.zsh+"/_"+p.name, 0o644)
	l.file(filepath.Join(manual, "fish", p.name+".fish"), "/usr/share/fish/vendor_completions.d/"+p.name+".fish", 0o644)
}

// papers lists the licences and what has changed.
func (l *listing) papers(formatName string, p parts) {
	doc := "/usr/share/doc/" + p.program.name
	f := p.program.formats[formatName]
	l.folder(doc)
	l.typed(f.licence, p.licences, doc+"/third-party-licenses.gz", 0o644)
	l.typed(f.manual, filepath.Join(l.r.staging, "changelog.gz"), doc+"/changelog.gz", 0o644)
	if formatName != "deb" {
		l.typed(f.licence, filepath.Join(l.r.source, "LICENSE"), doc+"/LICENSE", 0o644)
		return
	}
	packaging := filepath.Join(l.r.source, "packaging")
	l.file(filepath.Join(l.r.staging, p.program.name, "changelog.Debian.gz"), doc+"/changelog.Debian.gz", 0o644)
	l.file(filepath.Join(packaging, "copyright"), doc+"/copyright", 0o644)
	l.file(filepath.Join(packaging, p.program.name+".lintian-overrides"), "/usr/share/lintian/overrides/"+p.program.name, 0o644)
}

// documents are README and what it links to, beside docs and examples. The
// changelog and the licence have names of their own in a package.
var documents = []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"}

// documents lists README, docs and examples in the places that they have in
// the sources, so that their links hold.
func (l *listing) documents(f format) {
	const doc = "/usr/share/doc/gatelodge"
	for _, name := range documents {
		l.typed(f.manual, filepath.Join(l.r.source, name), doc+"/"+name, 0o644)
	}
	l.tree(f.manual, "docs", doc+"/docs")
	l.tree(f.manual, "examples", doc+"/examples")
}
