package remote

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Program returns the program for a VPS of that architecture: the file that
// the owner names, this very one if it runs there, or one that lies beside it
// or where packages put those of other architectures. Those that nobody has
// named are root's or the user's, and no one else could have changed them: root
// is to run them.
func Program(arch, named, self string, user *User) ([]byte, error) {
	candidates := []string{named}
	if named == "" {
		name := FileName(arch)
		beside := filepath.Join(filepath.Dir(self), name)
		candidates = []string{self, beside, beside + ".gz", "/usr/lib/gatelodge/" + name + ".gz"}
	}
	var tried []error
	for _, file := range candidates {
		data, err := readProgram(file)
		if err == nil {
			err = checkProgram(data, arch)
		}
		if err == nil && file != named && file != self {
			err = checkOwners(file, user)
		}
		if err == nil {
			return data, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || named != "" {
			tried = append(tried, fmt.Errorf("%s: %w", file, err))
		}
	}
	return nil, fmt.Errorf("there is no gatelodge for %s on this machine: %w", arch, errors.Join(tried...))
}

// checkOwners makes sure that nobody but root and the user could have put a file
// where it is. It comes after the reading, so that what was read was theirs: they
// do not give a file away in between.
func checkOwners(file string, user *User) error {
	file, err := filepath.Abs(file)
	if err == nil {
		file, err = filepath.EvalSymlinks(file)
	}
	if err != nil {
		return err
	}
	uid := uint32(os.Geteuid())
	if user != nil {
		uid = user.UID
	}
	for at := file; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		if why := othersMay(info.Mode(), stat.Uid, stat.Gid, uid); why != "" {
			return fmt.Errorf("%s %s: see what it is, then name it with --binary", at, why)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// othersMay says why others than root and the user may change a file, or what
// is in a folder; "" if they may not.
func othersMay(mode fs.FileMode, owner, group, user uint32) string {
	others := fs.FileMode(0o022)
	if group == 0 || group == user {
		others = 0o002 // a group of one's own, as many distributions make
	}
	switch {
	case owner != 0 && owner != user:
		return fmt.Sprintf("belongs to user %d, who is neither root nor you", owner)
	case mode.IsDir() && mode&fs.ModeSticky != 0:
		return "" // such as /tmp: others can add files, and not change ours
	case mode.Perm()&others != 0:
		return "may be changed by other users"
	}
	return ""
}

// FileName returns the name that releases give the program for an architecture.
func FileName(arch string) string {
	if arch == "arm" {
		arch = "armv7"
	}
	return "gatelodge-linux-" + arch
}

// maxProgram bounds a program in bytes.
const maxProgram = 256 << 20

func readProgram(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var from io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if from, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(from, maxProgram+1))
	if len(data) > maxProgram {
		return nil, errors.New("it is too large to be a program of ours")
	}
	return data, err
}

// checkProgram makes sure that a file is a program for the architecture.
func checkProgram(data []byte, arch string) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("it is not a program for Linux: %w", err)
	}
	defer f.Close()
	want, known := map[string]elf.Machine{
		"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM, "riscv64": elf.EM_RISCV,
	}[arch]
	if !known || f.Machine != want || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return fmt.Errorf("it is a program for %s, not for %s", f.Machine, arch)
	}
	return nil
}

// bringScript receives the program. /tmp is often mounted noexec.
const bringScript = `umask 077
folder=$2/usr/local/bin; [ -d "$folder" ] || folder=/tmp
file=$(mktemp "$folder/.gatelodge.XXXXXX") || exit
if cat >"$file" && sum=$(sha256sum <"$file") && [ "${sum%% *}" = "$1" ] && chmod 755 "$file"; then echo "$file"; exit; fi
rm -f "$file"
echo "what arrived is not what was sent: is the disk full?" >&2
exit 1`

// installScript has what was copied install itself, if it is of the version that
// is wanted; none is any.
const installScript = `code=1
said=$("$1" --version) || said="no program that runs here"
if [ -z "$3" ] || [ "$said" = "gatelodge version $3" ]; then
	"$1" --root "$2" install --json; code=$?
	# An earlier version refuses that.
	[ $code != 2 ] || { "$1" --root "$2" install; code=$?; }
else
	echo "what was copied is $said, not gatelodge version $3" >&2
fi
rm -f "$1"; exit $code`

// Bring copies the program to the VPS and has it install itself there, below
// root. What was copied is gone afterwards, also if that fails. Unless version
// is "", the program must be of that one.
func (c *Conn) Bring(ctx context.Context, program []byte, version, root string) error {
	sum := fmt.Sprintf("%x", sha256.Sum256(program))
	out, err := c.Root(ctx, Command{Script: bringScript, Args: []string{sum, strings.TrimRight(root, "/")}, Input: bytes.NewReader(program)})
	if err != nil {
		return fmt.Errorf("cannot copy the program to the VPS: %w", err)
	}
	file := firstLine(out)
	_, err = c.Root(ctx, Command{Script: installScript, Args: []string{file, root, version}})
	return err
}
