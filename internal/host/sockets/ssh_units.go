package sockets

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// unitFolders are where systemd looks for units (systemd.unit(5)).
var unitFolders = []string{
	"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early",
	"/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator",
	"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/generator.late",
}

// socketUnitPorts returns the ports in the files of a socket unit: all of them,
// also those that another file overrides, and those that are in force.
func socketUnitPorts(root, unit string) (all, inForce []uint16, err error) {
	files, err := unitFiles(root, unit)
	if err != nil {
		return nil, nil, err
	}
	for _, file := range files {
		lines, err := unitLines(file.name, "ListenStream")
		if err != nil {
			return nil, nil, err
		}
		for _, value := range lines {
			ports := streamPort(value)
			all = append(all, ports...)
			switch {
			case file.overridden:
			case value == "":
				inForce = nil // which is how a drop-in starts over
			default:
				inForce = append(inForce, ports...)
			}
		}
	}
	return all, inForce, nil
}

// unitFile is a file of a unit, or one that drops lines into it.
type unitFile struct {
	name       string
	overridden bool // by one of the same name in a folder before
}

// unitFiles returns a unit's files as systemd reads them (systemd.unit(5)): the
// unit in the first folder that has it, then what is dropped in, by name.
func unitFiles(root, unit string) ([]unitFile, error) {
	var files, dropIns []unitFile
	seen := map[string]bool{}
	for _, folder := range unitFolders {
		folder = filepath.Join(root, folder)
		there, err := isThere(filepath.Join(folder, unit))
		if err != nil {
			return nil, err
		}
		if there {
			files = append(files, unitFile{filepath.Join(folder, unit), len(files) > 0})
		}
		names, err := glob(filepath.Join(folder, unit+".d", "*.conf"))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			dropIns = append(dropIns, unitFile{name, seen[filepath.Base(name)]})
			seen[filepath.Base(name)] = true
		}
	}
	slices.SortStableFunc(dropIns, func(a, b unitFile) int {
		return strings.Compare(filepath.Base(a.name), filepath.Base(b.name))
	})
	return append(files, dropIns...), nil
}

// isEnabled reports whether systemd starts a unit with another one.
func isEnabled(root, unit string) (bool, error) {
	for _, folder := range unitFolders {
		for _, kind := range []string{"*.wants", "*.requires"} {
			with, err := glob(filepath.Join(root, folder, kind))
			if err != nil {
				return false, err
			}
			for _, other := range with {
				if there, err := isThere(filepath.Join(other, unit)); there || err != nil {
					return there, err
				}
			}
		}
	}
	return false, nil
}

// isThere reports whether we see a file, or a link that leads nowhere.
func isThere(file string) (bool, error) {
	_, err := os.Lstat(file)
	if nothingToSee(err) {
		return false, nil
	}
	return err == nil, err
}

// unitLines returns the values that a unit file gives a name.
func unitLines(file, name string) ([]string, error) {
	text, err := readIfThere(file)
	if err != nil {
		return nil, err
	}
	var values []string
	for line := range strings.Lines(string(text)) {
		if word, value, found := strings.Cut(line, "="); found && strings.TrimSpace(word) == name {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values, nil
}

// streamPort returns the port of a ListenStream (systemd.socket(5)). Other kinds
// of sockets have none.
func streamPort(value string) []uint16 {
	if at, err := netip.ParseAddrPort(value); err == nil {
		return portIn(strconv.Itoa(int(at.Port())))
	}
	return portIn(value)
}
