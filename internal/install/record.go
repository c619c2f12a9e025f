package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// recordFile lies in root's folder: root removes what it names.
const recordFile = "/etc/gatelodge/" + RecordName

// RecordName is the name of the file in which Install writes down what it
// makes, in the folder of the configuration.
const RecordName = "installed.json"

// record is what was made on this machine.
type record struct {
	Files   []string `json:"files"`
	Folders []string `json:"folders"`
	User    bool     `json:"user"`
}

func (r *record) addFile(name string) {
	if !slices.Contains(r.Files, name) {
		r.Files = append(r.Files, name)
	}
}

func (r *record) addFolder(name string) {
	if !slices.Contains(r.Folders, name) {
		r.Folders = append(r.Folders, name)
	}
}

// record reads what was made; ErrNotInstalled is returned if nothing was.
func (o Options) record() (*record, error) {
	data, err := os.ReadFile(o.path(recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotInstalled
	}
	if err != nil {
		return nil, err
	}
	r := new(record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("cannot read %s, which says what gatelodge install has made: %w", o.path(recordFile), err)
	}
	return r, nil
}

func (o Options) save(r *record) error {
	folder := filepath.Dir(recordFile)
	if err := o.addMissing(r, folder); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := makeFolders(o.path(folder)); err != nil {
		return err
	}
	return replace(o.path(recordFile), append(data, '\n'), 0o644)
}

// addMissing adds a folder and those above it that do not exist yet.
func (o Options) addMissing(r *record, folder string) error {
	for ; folder != "/"; folder = filepath.Dir(folder) {
		_, err := os.Stat(o.path(folder))
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		r.addFolder(folder)
	}
	return nil
}

func isNotEmpty(err error) bool { return errors.Is(err, syscall.ENOTEMPTY) }
