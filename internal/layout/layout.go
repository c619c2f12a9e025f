// Package layout knows where everything of an instance lies, and which role a
// machine has.
package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Paths are the places of one instance, all under its root.
type Paths struct{ Root string }

// Config returns the folder of what the owner wrote.
func (p Paths) Config() string { return filepath.Join(p.Root, "/etc/gatelodge") }

// ConfigFile returns the configuration file of a role.
func (p Paths) ConfigFile(role forward.Role) string {
	return filepath.Join(p.Config(), string(role)+".toml")
}

// KeptFile returns where the configuration of a machine that is no longer a gate or
// a home is kept: the next home begins with it.
func (p Paths) KeptFile(role forward.Role) string { return p.ConfigFile(role) + ".kept" }

// State returns the folder of what the program must remember.
func (p Paths) State() string { return filepath.Join(p.Root, "/var/lib/gatelodge") }

// Run returns the folder of what lives as long as the machine runs.
func (p Paths) Run() string { return filepath.Join(p.Root, "/run/gatelodge") }

// Existing returns those of the folders that the program writes to which are there.
func (p Paths) Existing() []string {
	return slices.DeleteFunc([]string{p.State(), p.Run()}, func(folder string) bool {
		_, err := os.Stat(folder)
		return err != nil
	})
}

// Socket returns the daemon's own socket, by which the commands reach it.
func (p Paths) Socket() string { return filepath.Join(p.Run(), "gatelodge.sock") }

// Log returns the file that a daemon started by `gatelodge up` writes to.
func (p Paths) Log() string { return filepath.Join(p.State(), "gatelodge.log") }

// Remedies returns the file that lists what the owner has agreed to in other
// firewalls. It lies where only root writes: commands that root runs follow from
// it, and the daemon has a user of its own.
func (p Paths) Remedies() string { return filepath.Join(p.Config(), "remedies.json") }

// FailedStarts returns the file that counts starts which failed in a row.
func (p Paths) FailedStarts() string { return filepath.Join(p.Run(), "failed-starts") }

// ErrNoRole is returned where this machine is neither gate nor home yet.
var ErrNoRole = errors.New("this machine is neither a gate nor a home yet")

// Role finds out what this machine is by the configuration file it has.
func (p Paths) Role() (forward.Role, error) {
	var found []forward.Role
	for _, role := range []forward.Role{forward.Gate, forward.Home} {
		_, err := os.Stat(p.ConfigFile(role))
		if err == nil {
			found = append(found, role)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("cannot look for %s: %w", p.ConfigFile(role), err)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: %s holds neither gate.toml nor home.toml", ErrNoRole, p.Config())
	case 1:
		return found[0], nil
	default:
		return "", fmt.Errorf("%s holds both gate.toml and home.toml; remove the one that this machine is not", p.Config())
	}
}
