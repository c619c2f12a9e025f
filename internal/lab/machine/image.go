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
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Image is what machines start from.
type Image struct {
	Disk   string // an ext4 file system; machines write to copies of it
	Format string // of the disk's file, as qemu-img calls it; "" is raw
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
	return image, build(ctx, dir, log, imageScript)
}

//go:embed packages.sh
var packagesScript []byte

// Packages returns a folder of the user's cache with Debian packages for the
// image, and fetches them first where the cache does not hold them. Each name
// becomes a folder there, with the listed packages and all they need beyond the
// image.
func Packages(ctx context.Context, image Image, wanted map[string][]string, log io.Writer) (string, error) {
	var words []string
	for name, list := range wanted {
		words = append(words, name+"="+strings.Join(list, ","))
	}
	slices.Sort(words)
	sum := sha256.New()
	fmt.Fprintln(sum, filepath.Base(filepath.Dir(image.Disk)), words)
	sum.Write(packagesScript)
	parent := filepath.Dir(filepath.Dir(image.Disk))
	unlock, err := lock(filepath.Join(parent, "image.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(parent, fmt.Sprintf("packages-%x", sum.Sum(nil))[:21])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fmt.Fprintln(log, "fetching packages for the virtual machines, once:", dir)
	return dir, build(ctx, dir, log, packagesScript, append([]string{image.Disk}, words...)...)
}

// build makes a folder by a script, under another name first, so that half of
// it is never taken for the whole.
func build(ctx context.Context, dir string, log io.Writer, by []byte, args ...string) error {
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return err
	}
	file := filepath.Join(partial, "made-by.sh")
	if err := os.WriteFile(file, by, 0o755); err != nil {
		return err
	}
	script := exec.CommandContext(ctx, "sh", append([]string{file, partial}, args...)...)
	script.Stdout, script.Stderr = log, log
	if err := script.Run(); err != nil {
		return fmt.Errorf("cannot make %s for the virtual machines (it needs root, mmdebstrap and a Debian archive): %w", dir, err)
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
	mke2fs := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-d", folder, disk, "500M")
	if text, err := mke2fs.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot make the machines' second disk: %w: %s", err, text)
	}
	return nil
}
