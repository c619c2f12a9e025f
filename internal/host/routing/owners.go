package routing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/printable"
)

// nothingToSee reports whether an error says that something is not there, has
// gone, or is hidden from us (proc(5), hidepid). Whatever else, such as a want of
// memory, must not pass for nothing: an sshd that is not seen loses its port.
func nothingToSee(err error) bool {
	for _, e := range []error{fs.ErrNotExist, fs.ErrPermission, unix.ESRCH, unix.ENOTDIR, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// maxName bounds a name that is shown, in bytes. Whoever runs a process gives it
// one, of any 15 bytes, and its control group one of any 255.
const maxName = 300

// socketOwners maps inodes of sockets to names of processes, as far as they
// can be seen, and as they may be shown. Processes end while one looks; that is no error.
func socketOwners() (map[string]string, error) {
	owners := map[string]string{}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		if err := addOwned(owners, filepath.Join("/proc", p.Name())); err != nil && !nothingToSee(err) {
			return nil, fmt.Errorf("cannot look at the processes of this machine: %w", err)
		}
	}
	return owners, nil
}

// addOwned adds the sockets of one process.
func addOwned(owners map[string]string, process string) error {
	links, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		return err
	}
	name := ""
	for _, l := range links {
		target, err := os.Readlink(filepath.Join(process, "fd", l.Name()))
		if err != nil && !nothingToSee(err) {
			return err
		}
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if !isSocket {
			continue
		}
		if name == "" {
			comm, err := os.ReadFile(filepath.Join(process, "comm"))
			if err != nil {
				return err
			}
			name = printable.Line(strings.TrimSpace(string(comm)), maxName)
		}
		owners[strings.TrimSuffix(inode, "]")] = name
	}
	return nil
}

// socketUnits maps inodes of sockets to the units in whose control groups they
// were opened, as far as the kernel tells. It tells everybody: this serves
// where other users' processes are hidden from us (proc(5), hidepid). root is
// where the machine's files are, "/" but for tests.
func socketUnits(root string) (map[string]string, error) {
	units := map[string]string{}
	groups, err := controlGroups(root)
	if err != nil || len(groups) == 0 {
		return units, err
	}
	for inode, id := range socketGroups() {
		group, known := groups[id]
		if !known {
			// The inode numbers of a 32-bit kernel are the lower half of the ID.
			group = groups[uint64(uint32(id))]
		}
		units[inode] = unitOf(group)
	}
	return units, nil
}

// controlGroups maps the IDs of control groups, which are the inode numbers of
// their folders, to their paths: those of cgroup v2 (cgroups(7)), also where it
// stands beside v1. Groups end while one looks; that is no error.
func controlGroups(root string) (map[uint64]string, error) {
	groups := map[uint64]string{}
	for _, top := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
		top = filepath.Join(root, top)
		if _, err := os.Stat(filepath.Join(top, "cgroup.controllers")); nothingToSee(err) {
			continue // none, or v1
		}
		err := filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
			var stat unix.Stat_t
			if err == nil && entry.IsDir() {
				err = unix.Stat(name, &stat)
			}
			if nothingToSee(err) || err == nil && !entry.IsDir() {
				return nil
			}
			groups[stat.Ino] = strings.TrimPrefix(name, top)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("cannot look at this machine's control groups: %w", err)
		}
		break
	}
	return groups, nil
}

// unitOf returns the unit that a control group belongs to: systemd's units
// (systemd.unit(5)), of which the innermost counts, and OpenRC's services.
func unitOf(group string) string {
	for ; group != "" && group != "/" && group != "."; group = path.Dir(group) {
		name := path.Base(group)
		if service, isOpenRC := strings.CutPrefix(name, "openrc."); isOpenRC {
			return printable.Line(service+".service", maxName)
		}
		if ext := path.Ext(name); ext == ".service" || ext == ".scope" || ext == ".socket" {
			return printable.Line(name, maxName)
		}
	}
	return ""
}

// socketGroups maps inodes of listening sockets to the IDs of their control
// groups (sock_diag(7)). A kernel without that answer leaves it empty.
func socketGroups() map[string]uint64 {
	groups := map[string]uint64{}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		askGroups(groups, family, unix.IPPROTO_TCP, tcpListening)
		askGroups(groups, family, unix.IPPROTO_UDP, udpUnconnected)
	}
	return groups
}

func askGroups(groups map[string]uint64, family, protocol byte, states uint32) {
	// What has come before an error is as good as without it.
	answers, _ := askSockets(family, protocol, states)
	for _, answer := range answers {
		attributes, err := nl.ParseRouteAttr(answer[diagMessageSize:])
		if err != nil {
			continue
		}
		inode := binary.NativeEndian.Uint32(answer[diagInodeOffset:])
		for _, a := range attributes {
			if a.Attr.Type&nl.NLA_TYPE_MASK == netlink.INET_DIAG_CGROUP_ID && len(a.Value) >= 8 {
				groups[strconv.FormatUint(uint64(inode), 10)] = binary.NativeEndian.Uint64(a.Value)
			}
		}
	}
}
