package daemon

import (
	"context"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/store"
)

// Plan returns what a daemon would change if it started now. It is for when
// none runs, and changes nothing: neither the machine nor a file.
func Plan(ctx context.Context, o Options) (response local.PlanResponse, err error) {
	role, err := o.Paths.Role()
	if err != nil {
		return response, err
	}
	st, err := store.View(o.Paths.State())
	if err != nil {
		return response, err
	}
	defer st.Close()
	if err := st.Free(); err != nil {
		return response, err
	}
	r, err := open(ctx, o, role, st, viewHost)
	if err != nil {
		return response, err
	}
	defer r.machine.Close()
	return r.plan(ctx)
}

// viewHost opens this machine to look at it.
func viewHost(ctx context.Context, o Options, name string, device config.Device) (*host.Host, error) {
	st, err := store.View(o.Paths.Run())
	if err != nil {
		return nil, err
	}
	journal, err := openJournal(o, st)
	if err != nil {
		return nil, err
	}
	if err := refuseFormer(ctx, journal, name); err != nil {
		return nil, err
	}
	return host.Open(ctx, host.Options{Interface: name, Device: string(device), Journal: journal, LookOnly: true, Log: o.Log})
}
