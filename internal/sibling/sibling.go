// Package sibling finds the other one of this project's two programs, gatelodge
// and gatelodge-lab: beside the one that runs, or in PATH.
package sibling

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNone is in the error of Find when the program is nowhere.
var ErrNone = errors.New("not found")

// Find returns the absolute path of the program of that name. It looks in the
// folder of the running program, which it knows also when that was started by a
// symbolic link, in the folder of that link, and in PATH, in this order. The
// error of a program that is there and cannot be run says why.
func Find(name string) (string, error) {
	self, err := os.Executable() // where symbolic links end
	if err != nil {
		return "", err
	}
	return find(name, folders(self, os.Args[0]))
}

// folders are those of the running program and of the name it was started by,
// if that tells one.
func folders(self, called string) []string {
	all := []string{filepath.Dir(self)}
	if strings.ContainsRune(called, filepath.Separator) {
		all = append(all, filepath.Dir(called))
	}
	return slices.Compact(all)
}

func find(name string, beside []string) (string, error) {
	var wrong []error
	for _, dir := range beside {
		file, err := filepath.Abs(filepath.Join(dir, name))
		if err == nil {
			file, err = exec.LookPath(file)
		}
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			wrong = append(wrong, err)
		}
	}
	if file, err := exec.LookPath(name); err == nil {
		return file, nil
	}
	if len(wrong) > 0 {
		return "", errors.Join(wrong...)
	}
	return "", fmt.Errorf("%s %w in %s or in PATH", name, ErrNone, strings.Join(beside, ", "))
}
