package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gatelodge/gatelodge/packaging"
)

// What the program itself keeps on a machine.
var (
	lived  = []string{"/run/gatelodge"}
	purged = []string{"/etc/gatelodge", "/var/lib/gatelodge", "/etc/systemd/system/" + packaging.Service + ".d"}
)

// CanUninstall returns why uninstalling would be refused, and whether a
// package has taken the service over: it goes on then, and must not be brought
// down. It changes nothing.
func CanUninstall(ctx context.Context, o Options, purge bool) (replaced bool, err error) {
	o = o.withDefaults()
	_, err = o.record()
	if errors.Is(err, ErrNotInstalled) {
		err = errors.Join(o.refusePackaged(ctx), err)
		if packaged, ok := errors.AsType[*PackagedError](err); ok {
			return false, packaged
		}
	}
	if err != nil {
		return false, err
	}
	return o.replaced(ctx, purge)
}

// replaced reports whether a package has come after Install. Configuration and
// keys are the package's by then, and not to be purged behind its back.
func (o Options) replaced(ctx context.Context, purge bool) (bool, error) {
	manager, err := o.packaged(ctx)
	if err != nil || manager == "" {
		return false, err
	}
	if purge {
		return false, &PackagedError{Manager: manager, beside: true}
	}
	return true, nil
}

// Uninstall removes what Install has made, and returns in words what it did.
// Configuration and keys stay, unless purge is set; so does the user, to whom
// the keys belong. The daemon must have been brought down before, unless
// CanUninstall says that a package has taken it over.
func Uninstall(ctx context.Context, o Options, purge bool) ([]string, error) {
	o = o.withDefaults()
	r, err := o.record()
	if err != nil {
		return nil, err
	}
	replaced, err := o.replaced(ctx, purge)
	if err != nil {
		return nil, err
	}
	if replaced {
		return o.giveWay(ctx, r)
	}
	return o.uninstall(ctx, r, purge)
}

// giveWay removes what hides a package's program and unit. The service stays
// enabled; one that runs goes on as the package's, and what stands in the
// kernel stands meanwhile.
func (o Options) giveWay(ctx context.Context, r *record) ([]string, error) {
	active, err := o.active(ctx)
	if err != nil {
		return nil, err
	}
	done, err := o.removeFiles(r)
	if err != nil {
		return done, err
	}
	if o.asService() {
		if err := o.service.DaemonReload(ctx); err != nil {
			return done, err
		}
	}
	// Packages have the folder of the configuration, too.
	config := filepath.Dir(recordFile)
	r.Folders = slices.DeleteFunc(r.Folders, func(name string) bool { return name == config })
	if err := o.forget(r, false); err != nil || !active {
		return done, err
	}
	if err := o.service.Restart(ctx); err != nil {
		return done, err
	}
	return append(done, "restarted "+packaging.Service+", which is the package's now"), nil
}

func (o Options) active(ctx context.Context) (bool, error) {
	if !o.asService() {
		return false, nil
	}
	return o.service.Active(ctx)
}

func (o Options) uninstall(ctx context.Context, r *record, purge bool) ([]string, error) {
	if o.asService() {
		if err := o.disable(ctx); err != nil {
			return nil, err
		}
	}
	done, err := o.removeFiles(r)
	if err == nil {
		err = o.removeLived()
	}
	if err != nil {
		return done, err
	}
	if purge {
		more, err := o.purge(ctx, r)
		if done = append(done, more...); err != nil {
			return done, err
		}
	}
	if o.asService() {
		if err := o.service.DaemonReload(ctx); err != nil {
			return done, err
		}
		// Ends systemd's memory of a unit that failed; there may be none.
		_ = run(ctx, "", "systemctl", "reset-failed", packaging.Service)
	}
	return done, o.forget(r, purge)
}

// disable undoes what gate init or join did. Without the unit, which an
// interrupted installation may lack, there is nothing to disable.
func (o Options) disable(ctx context.Context) error {
	if _, err := os.Stat(o.path(unitFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return o.service.Disable(ctx)
}

func (o Options) removeFiles(r *record) ([]string, error) {
	var done []string
	for _, name := range r.Files {
		err := os.Remove(o.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return done, err
		}
		done = append(done, "removed "+o.path(name))
	}
	return done, nil
}

func (o Options) removeLived() error {
	for _, name := range lived {
		if err := os.RemoveAll(o.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// purge removes configuration, keys and the user. The record is kept until
// the end, so that whatever fails can be repeated.
func (o Options) purge(ctx context.Context, r *record) ([]string, error) {
	var done []string
	for _, name := range purged {
		if name == filepath.Dir(recordFile) {
			if err := o.emptyBut(name, filepath.Base(recordFile)); err != nil {
				return done, err
			}
			continue
		}
		if err := os.RemoveAll(o.path(name)); err != nil {
			return done, err
		}
	}
	done = append(done, "removed configuration, keys and state")
	if !r.User || !o.asService() {
		return done, nil
	}
	if err := o.users.remove(ctx, packaging.User); err != nil {
		return done, err
	}
	return append(done, "removed the user "+packaging.User), nil
}

// emptyBut removes all but one file of a folder.
func (o Options) emptyBut(folder, kept string) error {
	entries, err := os.ReadDir(o.path(folder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == kept {
			continue
		}
		if err := os.RemoveAll(filepath.Join(o.path(folder), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the record, and the folders that were made and are empty
// now. A user that stays is remembered by nobody but the machine.
func (o Options) forget(r *record, purge bool) error {
	if err := os.Remove(o.path(recordFile)); err != nil {
		return err
	}
	folders := r.Folders
	if purge && !slices.Contains(folders, filepath.Dir(recordFile)) {
		folders = append(folders, filepath.Dir(recordFile))
	}
	// The deepest first.
	slices.SortFunc(folders, func(a, b string) int { return len(b) - len(a) })
	for _, name := range folders {
		err := os.Remove(o.path(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !isNotEmpty(err) {
			return fmt.Errorf("cannot remove a folder that was made: %w", err)
		}
	}
	return nil
}
