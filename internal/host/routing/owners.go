package routing

import (
	"encoding/binary"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// socketOwners maps inodes of sockets to names of processes, as far as they
// can be seen. Processes end while one looks; that is no error.
func socketOwners() map[string]string {
	owners := map[string]string{}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return owners
	}
	names := map[string]string{}
	for _, link := range links {
		target, err := os.Readlink(link)
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if err != nil || !isSocket {
			continue
		}
		process := filepath.Dir(filepath.Dir(link))
		if _, known := names[process]; !known {
			comm, _ := os.ReadFile(process + "/comm") // gone meanwhile: no name
			names[process] = strings.TrimSpace(string(comm))
		}
		owners[strings.TrimSuffix(inode, "]")] = names[process]
	}
	return owners
}

// socketUnits maps inodes of sockets to the units in whose control groups they
// were opened, as far as the kernel tells. It tells everybody: this serves
// where other users' processes are hidden from us (proc(5), hidepid). root is
// where the machine's files are, "/" but for tests.
func socketUnits(root string) map[string]string {
	units := map[string]string{}
	groups := controlGroups(root)
	if len(groups) == 0 {
		return units
	}
	for inode, id := range socketGroups() {
		group, known := groups[id]
		if !known {
			// The inode numbers of a 32-bit kernel are the lower half of the ID.
			group = groups[uint64(uint32(id))]
		}
		units[inode] = unitOf(group)
	}
	return units
}

// controlGroups maps the IDs of control groups, which are the inode numbers of
// their folders, to their paths: those of cgroup v2 (cgroups(7)), also where it
// stands beside v1. Groups end while one looks; that is no error.
func controlGroups(root string) map[uint64]string {
	groups := map[uint64]string{}
	for _, top := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
		top = filepath.Join(root, top)
		if _, err := os.Stat(filepath.Join(top, "cgroup.controllers")); err != nil {
			continue // none, or v1
		}
		_ = filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
			var stat unix.Stat_t
			if err != nil || !entry.IsDir() || unix.Stat(name, &stat) != nil {
				return nil
			}
			groups[stat.Ino] = strings.TrimPrefix(name, top)
			return nil
		})
		break
	}
	return groups
}

// unitOf returns the unit that a control group belongs to: systemd's units
// (systemd.unit(5)), of which the innermost counts, and OpenRC's services.
func unitOf(group string) string {
	for ; group != "" && group != "/" && group != "."; group = path.Dir(group) {
		name := path.Base(group)
		if service, isOpenRC := strings.CutPrefix(name, "openrc."); isOpenRC {
			return service + ".service"
		}
		if ext := path.Ext(name); ext == ".service" || ext == ".scope" || ext == ".socket" {
			return name
		}
	}
	return ""
}

// socketGroups maps inodes of listening sockets to the IDs of their control
// groups (sock_diag(7)). A kernel without that answer leaves it empty.
func socketGroups() map[string]uint64 {
	const tcpListening, udpUnconnected = 1 << 10, 1 << 7 // bits of the states (linux/tcp_states.h)
	groups := map[string]uint64{}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		askGroups(groups, family, unix.IPPROTO_TCP, tcpListening)
		askGroups(groups, family, unix.IPPROTO_UDP, udpUnconnected)
	}
	return groups
}

// Layout of struct inet_diag_req_v2 and struct inet_diag_msg
// (linux/inet_diag.h).
const (
	diagRequestSize  = 56
	diagStatesOffset = 4
	diagMessageSize  = 72
	diagInodeOffset  = 68
)

func askGroups(groups map[string]uint64, family, protocol byte, states uint32) {
	question := make([]byte, diagRequestSize)
	question[0], question[1] = family, protocol
	binary.NativeEndian.PutUint32(question[diagStatesOffset:], states)
	request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	request.AddRawData(question)
	// What has come before an error is as good as without it.
	answers, _ := request.Execute(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY)
	for _, answer := range answers {
		if len(answer) < diagMessageSize {
			continue
		}
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
