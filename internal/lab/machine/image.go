package machine

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Image is what machines start from.
type Image struct {
	Disk   string // a raw ext4 file system; machines write to copies of it
	Kernel string
	Initrd string
}

//go:embed image.sh
var imageScript []byte

// Build returns the image, and makes it first where the user's cache does not
// hold it. That takes a minute or two, a network and root.
func Build(ctx context.Context, log io.Writer) (Image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Image{}, err
	}
	parent := filepath.Join(cache, "gatelodge")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return Image{}, err
	}
	unlock, err := lock(filepath.Join(parent, "image.lock"))
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	dir := filepath.Join(parent, fmt.Sprintf("image-%x", sha256.Sum256(imageScript))[:18])
	image := Image{Disk: filepath.Join(dir, "disk"), Kernel: filepath.Join(dir, "kernel"), Initrd: filepath.Join(dir, "initrd")}
	if _, err := os.Stat(dir); err == nil {
		return image, nil
	}
	fmt.Fprintln(log, "making the image of the virtual machines, once:", dir)
	return image, build(ctx, dir, log)
}

// build makes the image under another name first, so that half an image is
// never taken for one.
func build(ctx context.Context, dir string, log io.Writer) error {
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return err
	}
	file := filepath.Join(partial, "image.sh")
	if err := os.WriteFile(file, imageScript, 0o755); err != nil {
		return err
	}
	script := exec.CommandContext(ctx, "sh", file, partial)
	script.Stdout, script.Stderr = log, log
	if err := script.Run(); err != nil {
		return fmt.Errorf("cannot make the image of the virtual machines (it needs root, mmdebstrap and a Debian archive): %w", err)
	}
	return os.Rename(partial, dir)
}

// lock keeps a second process from making the same image.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing lets the lock go
}

// Payload makes a read-only disk of a folder, which machines find at /payload.
func Payload(ctx context.Context, folder, disk string) error {
	if err := os.RemoveAll(disk); err != nil {
		return err
	}
	mke2fs := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-d", folder, disk, "200M")
	if text, err := mke2fs.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot make the machines' second disk: %w: %s", err, text)
	}
	return nil
}
