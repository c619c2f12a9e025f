package layout

import (
	"errors"
	"os"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
)

func TestRoleIsWhatTheConfigurationFolderSays(t *testing.T) {
	p := Paths{Root: t.TempDir()}
	if _, err := p.Role(); !errors.Is(err, ErrNoRole) {
		t.Errorf("an empty root: %v", err)
	}
	write := func(role forward.Role) {
		if err := os.MkdirAll(p.Config(), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p.ConfigFile(role), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(forward.Home)
	if role, err := p.Role(); role != forward.Home || err != nil {
		t.Errorf("home.toml alone: %v, %v", role, err)
	}
	write(forward.Gate)
	if _, err := p.Role(); err == nil {
		t.Error("both files at once are taken")
	}
}
