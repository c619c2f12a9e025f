// Release makes what is given to the world: static binaries, packages for
// Debian, Red Hat and Alpine, a bill of materials for each binary, and their
// checksums.
//
//	go -C packaging/release run . -out DIR
//
// The same commit and the same Go give the same bytes, on any machine and
// without a network once the modules are there. It is a module of its own, so
// that what it needs never meets what the product is linked with.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "release: error:", err)
		os.Exit(1)
	}
}

// order is what the command line asks for.
type order struct {
	out     string
	version string
	archs   list
	formats list
	binary  string
	foreign bool
	lab     bool
	source  string
}

func run(args []string) (err error) {
	o, err := parseOrder(args)
	if err != nil {
		return err
	}
	r, err := newRelease(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.staging)) }()
	return r.make()
}

func parseOrder(args []string) (order, error) {
	o := order{archs: allArchs(), formats: list{"deb", "rpm", "apk"}}
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&o.out, "out", "", "folder to write to")
	flags.StringVar(&o.version, "version", "", "version, as Debian writes it (default: from git)")
	flags.Var(&o.archs, "arch", "architectures, separated by commas")
	flags.Var(&o.formats, "formats", "package formats, separated by commas; none: only binaries")
	flags.StringVar(&o.binary, "binary", "", "take this gatelodge instead of building one; needs a single -arch")
	flags.BoolVar(&o.foreign, "foreign", true, "packages carry the binaries that gatelodge init brings to machines of another architecture")
	flags.BoolVar(&o.lab, "lab", true, "make gatelodge-lab, too")
	flags.StringVar(&o.source, "source", "", "folder of the sources (default: found from here)")
	if err := flags.Parse(args); err != nil {
		return order{}, err
	}
	return o, o.check()
}

func (o order) check() error {
	if o.out == "" {
		return errors.New("where to? give -out DIR")
	}
	for _, name := range o.archs {
		if _, ok := archs[name]; !ok {
			return fmt.Errorf("-arch: unknown architecture %q, known are %s", name, allArchs())
		}
	}
	for _, name := range o.formats {
		if _, ok := gatelodge.formats[name]; !ok {
			return fmt.Errorf("-formats: unknown format %q, known are deb, rpm and apk", name)
		}
	}
	if o.binary != "" && len(o.archs) != 1 {
		return errors.New("-binary is for one architecture: give -arch too")
	}
	return nil
}

// list is a flag with several values. The first use replaces the default.
type list []string

// String gives the values as they are written on the command line.
func (l list) String() string { return strings.Join(l, ",") }

// Set takes values separated by commas; "none" is the empty list.
func (l *list) Set(value string) error {
	if value == "none" {
		*l = nil
		return nil
	}
	*l = strings.Split(value, ",")
	return nil
}

// findSource returns the nearest folder, from here upwards, that holds the
// product's module.
func findSource() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+module+"\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the sources are not here or above: give -source DIR")
		}
	}
}
