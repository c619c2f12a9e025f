package routing

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// SSHPorts returns the TCP ports by which this machine is reached over ssh:
// those that sshd listens on, or systemd on its behalf, and the port of the
// session that the value of SSH_CONNECTION (ssh(1)) describes, if it is not
// empty.
func SSHPorts(sshConnection string) ([]uint16, error) {
	return sshPortsWith("/", sshConnection)
}

// sshPortsWith does it with the configuration files below root.
func sshPortsWith(root, sshConnection string) ([]uint16, error) {
	listeners, err := Listeners()
	if err != nil {
		return nil, err
	}
	configured, err := configuredSSHPorts(root)
	if err != nil {
		return nil, fmt.Errorf("cannot read the ports of this machine's sshd: %w", err)
	}
	return sshPorts(listeners, configured, sshConnection), nil
}

// sshPorts judges the listeners. What is configured only ever serves to
// recognise one that root has opened, where the process does not say.
func sshPorts(listeners []Listener, configured []uint16, sshConnection string) []uint16 {
	var ports []uint16
	add := func(p uint16) {
		if p != 0 && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	for _, l := range listeners {
		if l.Protocol != forward.TCP || l.Addr.IsLoopback() {
			continue
		}
		if l.isSSH() || l.mayBeSSH() && slices.Contains(configured, l.Port) {
			add(l.Port)
		}
	}
	add(sessionPort(sshConnection))
	slices.Sort(ports)
	return ports
}

// isSSH reports whether the listener's process, or else its service, is one
// that serves ssh. Anybody may give a process that name, or run a service of
// it: only root's are how the owner gets in, and have a port to themselves.
func (l Listener) isSSH() bool {
	if l.UID != 0 {
		return false
	}
	if l.Process != "" {
		return l.Process == "sshd" || strings.HasPrefix(l.Process, "sshd-") || l.Process == "dropbear"
	}
	service, _, _ := strings.Cut(strings.TrimSuffix(l.Unit, filepath.Ext(l.Unit)), "@")
	return slices.Contains(sshUnits, service)
}

// mayBeSSH reports whether the listener is systemd's, who holds it for another
// service, or that of a hidden process of root's: in whatever control group,
// as an sshd that somebody has started by hand is in that of his session.
func (l Listener) mayBeSSH() bool {
	return l.UID == 0 && (l.Process == "systemd" || l.Process == "init" || l.Process == "")
}

// sshUnits are the names of units that serve ssh, with distributions' words
// for it.
var sshUnits = []string{"ssh", "sshd", "openssh", "openssh-server", "dropbear"}

// sessionPort returns the server's port of an ssh session, the last word of
// SSH_CONNECTION.
func sessionPort(sshConnection string) uint16 {
	fields := strings.Fields(sshConnection)
	if len(fields) != 4 {
		return 0
	}
	port, err := strconv.ParseUint(fields[3], 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

// configuredSSHPorts returns the ports on which this machine's files would have
// sshd listen, or systemd for it. root is where they are, "/" but for tests.
func configuredSSHPorts(root string) ([]uint16, error) {
	ports, err := sshdPorts(root)
	if err != nil {
		return nil, err
	}
	units, err := socketUnitPorts(root)
	if err != nil {
		return nil, err
	}
	ports = append(ports, units...)
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// sshdPorts returns the ports in sshd_config(5); 22 if there are none. A file
// that we may not read says nothing.
func sshdPorts(root string) ([]uint16, error) {
	ports, err := readSSHDConfig(root, "/etc/ssh/sshd_config", map[string]bool{})
	if len(ports) == 0 {
		return []uint16{22}, err
	}
	return ports, err
}

// readSSHDConfig reads a file and those that it includes, each once.
func readSSHDConfig(root, file string, seen map[string]bool) ([]uint16, error) {
	text, err := readIfThere(filepath.Join(root, file))
	if err != nil || seen[file] {
		return nil, err
	}
	seen[file] = true
	var ports []uint16
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(strings.Replace(line, "=", " ", 1)) // sshd takes both
		if len(fields) < 2 {
			continue
		}
		switch strings.ToLower(fields[0]) {
		case "port":
			ports = append(ports, portIn(fields[1])...)
		case "listenaddress":
			if _, port, err := net.SplitHostPort(fields[1]); err == nil {
				ports = append(ports, portIn(port)...)
			}
		case "include":
			for _, pattern := range fields[1:] {
				files, err := includedFiles(root, pattern)
				if err != nil {
					return nil, err
				}
				for _, included := range files {
					more, err := readSSHDConfig(root, included, seen)
					if err != nil {
						return nil, err
					}
					ports = append(ports, more...)
				}
			}
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
	pattern = strings.Trim(pattern, `"`)
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

// unitFolders are where systemd looks for units (systemd.unit(5)).
var unitFolders = []string{
	"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early",
	"/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator",
	"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/generator.late",
}

// socketUnitPorts returns the ports on which systemd would listen for sshd:
// every ListenStream of the units and their drop-ins, also those that another
// file overrides. Nobody listens there then, so it does not matter.
func socketUnitPorts(root string) ([]uint16, error) {
	var files []string
	for _, folder := range unitFolders {
		for _, unit := range sshUnits {
			unit = filepath.Join(root, folder, unit+".socket")
			files = append(files, unit)
			dropIns, err := glob(unit + ".d/*.conf")
			if err != nil {
				return nil, err
			}
			files = append(files, dropIns...)
		}
	}
	var ports []uint16
	for _, file := range files {
		more, err := listenStreams(file)
		if err != nil {
			return nil, err
		}
		ports = append(ports, more...)
	}
	return ports, nil
}

// listenStreams returns the ports in the lines ListenStream of a unit file
// (systemd.socket(5)). Other kinds of sockets have none.
func listenStreams(file string) ([]uint16, error) {
	text, err := readIfThere(file)
	if err != nil {
		return nil, err
	}
	var ports []uint16
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(name) != "ListenStream" {
			continue
		}
		value = strings.TrimSpace(value)
		if at, err := netip.ParseAddrPort(value); err == nil {
			ports = append(ports, at.Port())
			continue
		}
		ports = append(ports, portIn(value)...)
	}
	return ports, nil
}

// portIn returns the port that a word is, if it is one.
func portIn(word string) []uint16 {
	port, err := strconv.ParseUint(word, 10, 16)
	if err != nil || port == 0 {
		return nil
	}
	return []uint16{uint16(port)}
}

// IsSSH reports whether the listener is known to serve ssh.
func (l Listener) IsSSH() bool { return l.isSSH() }
