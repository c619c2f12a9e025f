package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

const module = "github.com/gatelodge/gatelodge"

// arch is an architecture in the words of Go and of the packages.
type arch struct {
	goarch  string
	setting string // GOARM and the like, so that the builder's own do not count
	nfpm    string // deb and apk follow from it
	rpm     string
}

var archs = map[string]arch{
	"amd64":   {goarch: "amd64", setting: "GOAMD64=v1", nfpm: "amd64", rpm: "x86_64"},
	"arm64":   {goarch: "arm64", setting: "GOARM64=v8.0", nfpm: "arm64", rpm: "aarch64"},
	"armv7":   {goarch: "arm", setting: "GOARM=7", nfpm: "arm7", rpm: "armv7hl"},
	"riscv64": {goarch: "riscv64", setting: "GORISCV64=rva20u64", nfpm: "riscv64", rpm: "riscv64"},
}

// brought are the architectures of the VPS that there are to rent: each
// package carries those that are not its own.
var brought = []string{"amd64", "arm64"}

func allArchs() list { return list{"amd64", "arm64", "armv7", "riscv64"} }

// foreignTo returns the architectures that a package carries beside its own.
func foreignTo(name string) []string {
	return slices.DeleteFunc(slices.Clone(brought), func(other string) bool { return other == name })
}

func binaryName(program, arch string) string { return program + "-linux-" + arch }

// linkerFlags are those of make build.
func linkerFlags(version string) string {
	return "-s -w -buildid= -X " + module + "/internal/cli.Version=" + version +
		" -X " + module + "/internal/lab/command.Version=" + version
}

// build links a program for one architecture. Nothing of this machine is in
// it: no paths, no cgo, no settings of the environment.
func (r *release) build(program, name, file string) error {
	fmt.Fprintln(os.Stderr, "building", filepath.Base(file))
	a := archs[name]
	_, err := command(r.source, []string{
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + a.goarch, a.setting, "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off",
	}, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", linkerFlags(r.version), "-o", file, "./cmd/"+program)
	return err
}

// binary returns a program for an architecture, and builds it if nobody has
// asked for it before.
func (r *release) binary(program, name string) (string, error) {
	if file, ok := r.binaries[binaryName(program, name)]; ok {
		return file, nil
	}
	folder := r.staging
	if slices.Contains(r.archs, name) {
		folder = r.out
	}
	file := filepath.Join(folder, binaryName(program, name))
	if err := r.obtain(program, name, file); err != nil {
		return "", err
	}
	r.binaries[binaryName(program, name)] = file
	return file, nil
}

func (r *release) obtain(program, name, file string) error {
	if r.ready == "" || program != gatelodge.name || !slices.Contains(r.archs, name) {
		return r.build(program, name, file)
	}
	content, err := os.ReadFile(r.ready)
	if err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o755)
}

// compressed returns gatelodge for a foreign architecture as it is shipped.
func (r *release) compressed(name string) (string, error) {
	file := filepath.Join(r.staging, binaryName(gatelodge.name, name)+".gz")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	binary, err := r.binary(gatelodge.name, name)
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return "", err
	}
	return file, writeCompressed(file, content)
}
