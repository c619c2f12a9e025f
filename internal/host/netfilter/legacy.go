package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LegacyTable is a table of iptables-legacy as the kernel has it: one list of
// rules, and where in it the chains of the hooks begin and end. Hooks are
// numbered as in linux/netfilter.h.
type LegacyTable struct {
	Family string // "ip" or "ip6"
	Name   string
	Heads  map[int]uint32
	Ends   map[int]uint32 // where the policies are
	Rules  []byte
}

// LegacyFamily is what differs between iptables-legacy and ip6tables-legacy.
type LegacyFamily struct {
	Name, list string // of the family, and of the file that lists its tables
	module     string // the start of the modules' names
	domain     int
	level      int
}

// LegacyFamilies returns both.
func LegacyFamilies() []LegacyFamily {
	return []LegacyFamily{
		{"ip", "ip_tables_names", "iptable_", unix.AF_INET, unix.SOL_IP},
		{"ip6", "ip6_tables_names", "ip6table_", unix.AF_INET6, unix.SOL_IPV6},
	}
}

// ErrHidden reports that the list of the tables is hidden from us, and that
// nothing else tells of them.
var ErrHidden = errors.New("cannot tell whether iptables-legacy has tables")

// Tables lists the tables of a family that stand. The list is root's to read; modules
// are for everybody.
func (f LegacyFamily) Tables() ([]string, error) {
	listed, err := os.ReadFile("/proc/thread-self/net/" + f.list)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		return strings.Fields(string(listed)), nil
	}
	loaded, moduleErr := os.ReadFile("/proc/modules")
	if moduleErr != nil {
		return nil, fmt.Errorf("%w: %w", ErrHidden, err)
	}
	var tables []string
	for line := range strings.Lines(string(loaded)) {
		module, _, _ := strings.Cut(line, " ")
		if table, is := strings.CutPrefix(module, f.module); is {
			tables = append(tables, table)
		}
	}
	return tables, nil
}

// sockGetInfo and sockGetEntries are the same in both families
// (linux/netfilter_ipv4/ip_tables.h).
const (
	sockGetInfo    = 64
	sockGetEntries = 65
	tableNameSize  = 32
)

// hooks is how many hooks there are.
const hooks = 5

// Read reads one table. Somebody may change it between the two questions; then
// the kernel says so, and it is asked again.
func (f LegacyFamily) Read(name string) (LegacyTable, error) {
	socket, err := unix.Socket(f.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return LegacyTable{}, err
	}
	defer unix.Close(socket)
	const tries = 3
	for range tries {
		var t LegacyTable
		var length uint32
		if t, length, err = f.info(socket, name); err != nil {
			return LegacyTable{}, err
		}
		// struct ipt_get_entries: the name, the size, and the entries, aligned.
		const head = tableNameSize + 8
		answer := make([]byte, head+int(length))
		copy(answer, name)
		binary.NativeEndian.PutUint32(answer[tableNameSize:], length)
		if err = getSockOpt(socket, f.level, sockGetEntries, answer); err == nil {
			t.Rules = answer[head:]
			return t, nil
		}
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return LegacyTable{}, err
}

// info asks for the places of a table's chains: struct ipt_getinfo.
func (f LegacyFamily) info(socket int, name string) (t LegacyTable, length uint32, err error) {
	const places, size = tableNameSize + 4, tableNameSize + 48
	answer := make([]byte, size+4)
	copy(answer, name)
	if err := getSockOpt(socket, f.level, sockGetInfo, answer); err != nil {
		return t, 0, err
	}
	t = LegacyTable{Family: f.Name, Name: name, Heads: map[int]uint32{}, Ends: map[int]uint32{}}
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(answer[at:]) }
	valid := word(tableNameSize)
	for hook := range hooks {
		if valid&(1<<hook) != 0 {
			t.Heads[hook], t.Ends[hook] = word(places+4*hook), word(places+4*(hooks+hook))
		}
	}
	const most = 64 << 20 // far beyond any table that somebody could want
	if length = word(size); length > most {
		return t, 0, fmt.Errorf("it is too large (%d bytes)", length)
	}
	return t, length, nil
}

// getSockOpt is getsockopt(2) with room for an answer of any size, which the
// libraries do not have.
func getSockOpt(socket, level, option int, answer []byte) error {
	size := uint32(len(answer))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(answer))), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
