package sockets

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sshFiles are the ports that this machine's files name for its ssh servers.
// What we may not read says nothing.
type sshFiles struct {
	installed bool     // whether there is one, and we may read what it is set up with
	explicit  []uint16 // in sshd_config(5), and in what the servers are started with
	enabled   []uint16 // of socket units that systemd listens for at boot
	units     []uint16 // of any socket unit
}

// defaultSSHPort is where an ssh server listens that has been told no port.
const defaultSSHPort = 22

// wanted returns where an ssh server is to listen, whether it does just now or
// will only do so later. A port that is ours for no reason is one that no home
// gets, so a unit that nobody has enabled does not count.
func (f sshFiles) wanted() []uint16 {
	ports := slices.Concat(f.explicit, f.enabled)
	if len(ports) == 0 && f.installed {
		ports = append(ports, defaultSSHPort)
	}
	return sorted(ports)
}

// named returns all ports that any file names: an ssh server that listens there
// is known by it.
func (f sshFiles) named() []uint16 {
	ports := slices.Concat(f.explicit, f.enabled, f.units)
	if len(f.explicit) == 0 {
		ports = append(ports, defaultSSHPort)
	}
	return sorted(ports)
}

// readSSHFiles reads the files below root, "/" but for tests.
func readSSHFiles(root string) (f sshFiles, err error) {
	const config = "/etc/ssh/sshd_config"
	text, err := readIfThere(filepath.Join(root, config))
	if err != nil {
		return f, err
	}
	dropbear, err := hasDropbear(root)
	if err != nil {
		return f, err
	}
	f.installed = text != nil || dropbear
	if f.explicit, err = readSSHDConfig(root, config, map[string]bool{}); err != nil {
		return f, err
	}
	options, err := startOptions(root)
	if err != nil {
		return f, err
	}
	f.explicit = append(f.explicit, options...)
	for _, unit := range sshUnits {
		all, inForce, err := socketUnitPorts(root, unit+".socket")
		if err != nil {
			return f, err
		}
		f.units = append(f.units, all...)
		enabled, err := isEnabled(root, unit+".socket")
		if err != nil {
			return f, err
		}
		if enabled {
			f.enabled = append(f.enabled, inForce...)
		}
	}
	return f, nil
}

// hasDropbear reports whether dropbear(8) is set up as a distribution's service.
func hasDropbear(root string) (bool, error) {
	for _, file := range startFiles {
		if filepath.Base(file) != "dropbear" {
			continue
		}
		if there, err := isThere(filepath.Join(root, file)); there || err != nil {
			return there, err
		}
	}
	return false, nil
}

// readSSHDConfig reads a file and those that it includes, each once. What
// stands in a Match block counts as well: sshd takes no port there.
func readSSHDConfig(root, file string, seen map[string]bool) ([]uint16, error) {
	text, err := readIfThere(filepath.Join(root, file))
	if err != nil || seen[file] {
		return nil, err
	}
	seen[file] = true
	var ports []uint16
	for line := range strings.Lines(string(text)) {
		// sshd takes both, and quotes.
		fields := strings.Fields(strings.ReplaceAll(strings.Replace(line, "=", " ", 1), `"`, ""))
		if len(fields) < 2 {
			continue
		}
		switch strings.ToLower(fields[0]) {
		case "port":
			ports = append(ports, portIn(fields[1])...)
		case "listenaddress":
			ports = append(ports, portAfter(fields[1])...)
		case "include":
			more, err := readIncluded(root, fields[1:], seen)
			if err != nil {
				return nil, err
			}
			ports = append(ports, more...)
		}
	}
	return ports, nil
}

// readIncluded reads the files that the words after Include name.
func readIncluded(root string, patterns []string, seen map[string]bool) (ports []uint16, err error) {
	for _, pattern := range patterns {
		files, err := includedFiles(root, pattern)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			more, err := readSSHDConfig(root, file, seen)
			if err != nil {
				return nil, err
			}
			ports = append(ports, more...)
		}
	}
	return ports, nil
}

// readIfThere reads a file; one that is not there, or not for us, is empty.
func readIfThere(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if nothingToSee(err) {
		return nil, nil
	}
	return text, err
}

// includedFiles returns the files that an Include names, as they are called
// below root.
func includedFiles(root, pattern string) ([]string, error) {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join("/etc/ssh", pattern)
	}
	files, err := glob(filepath.Join(root, pattern))
	for i, f := range files {
		files[i] = strings.TrimPrefix(f, filepath.Clean(root))
	}
	return files, err
}

// glob is filepath.Glob, which takes a folder that cannot be read for an empty
// one. A pattern that is none finds nothing: sshd would not start with it.
func glob(pattern string) ([]string, error) {
	files, _ := filepath.Glob(pattern)
	if len(files) > 0 {
		return files, nil
	}
	if _, err := os.ReadDir(filepath.Dir(pattern)); err != nil && !nothingToSee(err) {
		return nil, err
	}
	return nil, nil
}

// startFiles hold what distributions start ssh servers with.
var startFiles = []string{
	"/etc/default/ssh", "/etc/default/sshd", "/etc/default/dropbear", "/etc/sysconfig/sshd", "/etc/sysconfig/dropbear",
	"/etc/conf.d/sshd", "/etc/conf.d/dropbear", "/etc/config/dropbear",
}

// startOptions returns the ports that ssh servers are given on their command
// lines, by distributions' files and by units.
func startOptions(root string) (ports []uint16, err error) {
	for _, file := range startFiles {
		text, err := readIfThere(filepath.Join(root, file))
		if err != nil {
			return nil, err
		}
		ports = append(ports, portOptions(string(text))...)
	}
	for _, unit := range sshUnits {
		files, err := unitFiles(root, unit+".service")
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			lines, err := unitLines(file.name, "ExecStart")
			if err != nil {
				return nil, err
			}
			ports = append(ports, portOptions(strings.Join(lines, "\n"))...)
		}
	}
	return ports, nil
}

// portOptions finds the ports in command lines of sshd(8) and dropbear(8), and in
// settings that become ones: -p 2222, -p2222, -p [::]:2222, -o Port=2222,
// DROPBEAR_PORT=2222, option Port '2222'.
func portOptions(text string) (ports []uint16) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n\"'=", r) })
		for i, word := range words {
			switch strings.ToLower(word) {
			case "-p", "port", "-oport", "dropbear_port":
				if i+1 < len(words) {
					ports = append(ports, portIn(words[i+1])...)
					ports = append(ports, portAfter(words[i+1])...)
				}
			default:
				if joined, is := strings.CutPrefix(word, "-p"); is {
					ports = append(ports, portIn(joined)...)
				}
			}
		}
	}
	return ports
}

// portAfter returns the port at the end of HOST:PORT.
func portAfter(text string) []uint16 {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return nil
	}
	return portIn(port)
}

// portIn returns the port that a word is, if it is one.
func portIn(word string) []uint16 {
	port, err := strconv.ParseUint(word, 10, 16)
	if err != nil || port == 0 {
		return nil
	}
	return []uint16{uint16(port)}
}
