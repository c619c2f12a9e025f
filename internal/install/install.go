// Package install puts this very program on a machine as a service, without a
// package manager, and takes it away again.
//
// What is written is first written down, in a file that only root can change:
// whatever is interrupted, uninstalling removes exactly that.
package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatelodge/gatelodge/internal/systemd"
	"github.com/gatelodge/gatelodge/packaging"
)

// Where things go. The unit is one of the administrator's: it goes before that
// of a package.
const (
	// Program is where the program goes.
	Program  = "/usr/local/bin/gatelodge"
	unitFile = "/etc/systemd/system/" + packaging.Service
	networkd = "/etc/systemd/networkd.conf.d/10-gatelodge.conf"
)

// Options say what to install, and where.
type Options struct {
	Root    string // prefix of all paths; where it is not "/", only files are written
	Program string // the program's file
	// The rest is this machine's, unless a test says otherwise.
	whole   bool // Root is the root of a machine, whatever it is called
	service service
	users   users
	owner   func(ctx context.Context) (string, error)
	booted  func() bool
}

// service is what is needed of the unit.
type service interface {
	Active(ctx context.Context) (bool, error)
	Restart(ctx context.Context) error
	Disable(ctx context.Context) error
	DaemonReload(ctx context.Context) error
}

// PackagedError means that a package manager has installed the program.
type PackagedError struct {
	Manager string
	beside  bool // what Install has made is still there, too
}

// Error implements error.
func (e *PackagedError) Error() string {
	return fmt.Sprintf("%s has installed gatelodge as a package, and looks after it", e.Manager)
}

// RemoveHint says how such a package is removed.
func (e *PackagedError) RemoveHint() string {
	hint := map[string]string{"dpkg": "apt purge gatelodge", "rpm": "dnf remove gatelodge", "apk": "apk del --purge gatelodge"}[e.Manager]
	if e.beside {
		// A package's purge spares what is written down as installed.
		return "gatelodge uninstall; then " + hint
	}
	return hint
}

// ErrNotInstalled is returned where there is nothing to uninstall.
var ErrNotInstalled = errors.New("gatelodge install has not installed anything here")

func (o Options) withDefaults() Options {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.service == nil {
		o.service = systemd.NewUnit(packaging.Service)
	}
	if o.users == nil {
		o.users = machineUsers{}
	}
	if o.owner == nil {
		o.owner = packageManager
	}
	if o.booted == nil {
		o.booted = systemd.Booted
	}
	return o
}

// asService reports whether the machine runs the program as a service, and not
// only keeps it.
func (o Options) asService() bool { return o.isMachine() && o.booted() }

func (o Options) isMachine() bool { return o.whole || filepath.Clean(o.Root) == "/" }

func (o Options) path(name string) string { return filepath.Join(o.Root, name) }

// Install installs the program, or replaces an earlier one, and returns in
// words what it did. Nothing is started that did not run before.
func Install(ctx context.Context, o Options) ([]string, error) {
	o = o.withDefaults()
	if err := o.refusePackaged(ctx); err != nil {
		return nil, err
	}
	// Without systemctl nothing is begun: it could not be undone either.
	if _, err := o.active(ctx); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(o.Program)
	if err != nil {
		return nil, fmt.Errorf("cannot read this program: %w", err)
	}
	r, err := o.record()
	if errors.Is(err, ErrNotInstalled) {
		r, err = &record{}, nil
	}
	if err != nil {
		return nil, err
	}
	files := o.files(program)
	if err := o.announce(r, files); err != nil {
		return nil, err
	}
	var done []string
	for _, f := range files {
		changed, err := o.place(f)
		if err != nil {
			return done, err
		}
		if changed {
			done = append(done, "wrote "+o.path(f.name))
		}
	}
	more, err := o.register(ctx)
	return append(done, more...), err
}

// refusePackaged leaves a package manager's program to it.
func (o Options) refusePackaged(ctx context.Context) error {
	manager, err := o.packaged(ctx)
	if err == nil && manager != "" {
		err = &PackagedError{Manager: manager}
	}
	return err
}

// packaged returns which package manager looks after the program, "" if none
// does.
func (o Options) packaged(ctx context.Context) (string, error) {
	if !o.isMachine() {
		return "", nil
	}
	return o.owner(ctx)
}

// file is one to be written.
type file struct {
	name string
	data []byte
	mode fs.FileMode
}

func (o Options) files(program []byte) []file {
	files := []file{{Program, program, 0o755}}
	if o.asService() {
		unit := strings.ReplaceAll(packaging.Unit, packaging.Program, Program)
		files = append(files, file{networkd, []byte(packaging.Networkd), 0o644}, file{unitFile, []byte(unit), 0o644})
	}
	return files
}

// announce writes down what is about to be made.
func (o Options) announce(r *record, files []file) error {
	for _, f := range files {
		r.addFile(f.name)
		if err := o.addMissing(r, filepath.Dir(f.name)); err != nil {
			return err
		}
	}
	if o.asService() {
		exists, err := o.users.exists(packaging.User)
		if err != nil {
			return err
		}
		r.User = r.User || !exists
	}
	return o.save(r)
}

// place writes a file, whole or not at all, and reports whether that was
// needed.
func (o Options) place(f file) (bool, error) {
	path := o.path(f.name)
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, f.data) {
		return false, os.Chmod(path, f.mode)
	}
	if err := makeFolders(filepath.Dir(path)); err != nil {
		return false, err
	}
	return true, replace(path, f.data, f.mode)
}

// makeFolders makes folders that everyone can read, whatever the umask is.
func makeFolders(path string) error {
	_, err := os.Stat(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeFolders(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

func replace(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".gatelodge-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// register makes the user, and tells systemd of the unit. A daemon that runs
// is replaced by the new one; what it made in the kernel stands meanwhile.
func (o Options) register(ctx context.Context) ([]string, error) {
	if !o.asService() {
		return nil, nil
	}
	var done []string
	exists, err := o.users.exists(packaging.User)
	if err != nil {
		return nil, err
	}
	if !exists {
		if err := o.users.add(ctx, packaging.User); err != nil {
			return nil, err
		}
		done = append(done, "made the user "+packaging.User)
	}
	if err := o.service.DaemonReload(ctx); err != nil {
		return done, err
	}
	active, err := o.service.Active(ctx)
	if err != nil || !active {
		return done, err
	}
	return append(done, "restarted "+packaging.Service), o.service.Restart(ctx)
}
