package edit

import (
	"context"
	"os"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/local"
)

// AllowPorts puts the ports of one home into gate.toml, has that carried out and
// does what they are for. If either fails, gate.toml is as it was. The caller is
// alone.
func (e Editor) AllowPorts(ctx context.Context, home string, ports []string, then func() error) error {
	file := e.Paths.ConfigFile(forward.Gate)
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, err := config.ReadGate(file, data)
	if err != nil {
		return err
	}
	after, err := before.SetHomePolicy(home, ports)
	if err != nil {
		return err
	}
	c := change{file: file, before: before.Data, after: after.Data, request: local.ApplyRequest{LeaveInput: true}}
	return e.carryOut(ctx, c, func(_ local.ApplyResponse, err error) error {
		if err != nil {
			return err
		}
		return then()
	})
}
