package sockets

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/printable"
)

// groupPaths maps the IDs of control groups, which are the inode numbers of
// their folders, to their paths. The kernel tells everybody in which one a socket
// was opened: this serves where other users' processes are hidden from us
// (proc(5), hidepid).
type groupPaths map[uint64]string

// path returns the path of a control group; "" if there is none of that ID.
func (g groupPaths) path(id uint64) string {
	if group, known := g[id]; known {
		return group
	}
	// The inode numbers of a 32-bit kernel are the lower half of the ID.
	return g[uint64(uint32(id))]
}

// controlGroups returns those below root, "/" but for tests: those of cgroup v2 (cgroups(7)), also where it
// stands beside v1. Groups end while one looks; that is no error.
func controlGroups(root string) (groupPaths, error) {
	groups := groupPaths{}
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
