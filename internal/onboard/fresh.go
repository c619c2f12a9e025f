package onboard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/problem"
)

// CheckFresh refuses to touch a machine that has a role already, or its keys.
func CheckFresh(p layout.Paths) error {
	role, err := p.Role()
	switch {
	case errors.Is(err, layout.ErrNoRole):
		return checkKeyless(p)
	case err != nil:
		return err
	}
	leave := map[forward.Role]string{forward.Home: "gatelodge leave", forward.Gate: "gatelodge gate close"}[role]
	return problem.New(problem.Failed, "gatelodge status; to start over: "+leave, "this machine is a %s already", role)
}

// checkKeyless refuses a machine that has lost its role and not its keys: undoing
// would remove them too. A user who is not root may not see them, and comes here
// again as root.
func checkKeyless(p layout.Paths) error {
	for _, role := range []forward.Role{forward.Gate, forward.Home} {
		for _, name := range stateFiles(role) {
			file := filepath.Join(p.State(), name)
			_, err := os.Lstat(file)
			if err == nil {
				hint := fmt.Sprintf("restore %s; or, if it is no longer a %s, move %s away", p.ConfigFile(role), role, p.State())
				return problem.New(problem.Failed, hint, "this machine still has the keys of a %s, in %s", role, file)
			}
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	return nil
}

// stateFiles names what a role remembers, and its copy.
func stateFiles(role forward.Role) []string {
	return []string{string(role) + ".json", string(role) + ".json.last"}
}

// NameFrom turns a host name into the name of a home.
func NameFrom(machine string) string {
	label, _, _ := strings.Cut(strings.ToLower(machine), ".")
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, label)
	name = strings.Trim(name[:min(len(name), 32)], "-")
	if forward.CheckName(name) != nil {
		return "home"
	}
	return name
}
