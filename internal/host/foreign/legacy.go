package foreign

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// iptables-legacy(8) keeps its rules in tables of its own, which nft(8) does not
// show, though its rules see the same packets. The kernel shows them to
// those who may change the network.

// legacyTable is a table of iptables-legacy.
type legacyTable struct {
	family string // "ip" or "ip6"
	name   string
	size   uint32 // of its rules
	heads  map[Hook]uint32
	ends   map[Hook]uint32 // where the policies are
}

// legacyPriorities are those of its tables that decide about packets of ours
// (linux/netfilter_ipv4.h); that of nat is at postrouting.
var legacyPriorities = map[string]int32{"raw": -300, "mangle": -150, "filter": 0, "security": 50, "nat": 100}

// legacyFamily is what differs between iptables-legacy and ip6tables-legacy.
type legacyFamily struct {
	name, list string // of the family, and of the file that lists its tables
	module     string // the start of the modules' names
	domain     int
	level      int
	layout     layout
}

var legacyFamilies = []legacyFamily{
	{"ip", "ip_tables_names", "iptable_", unix.AF_INET, unix.SOL_IP, layout4},
	{"ip6", "ip6_tables_names", "ip6table_", unix.AF_INET6, unix.SOL_IPV6, layout6},
}

// errHidden reports that the list of the tables is hidden from us, and that
// nothing else tells of them.
var errHidden = errors.New("cannot tell whether iptables-legacy has tables")

// LegacyTables names the tables of iptables-legacy that stand here, such as "ip
// filter". To ask the kernel for a table would make it, so it is asked for those
// alone that are listed, or whose module is loaded.
func LegacyTables() ([]string, error) {
	var names []string
	var errs []error
	for _, f := range legacyFamilies {
		tables, err := f.standing()
		errs = append(errs, err)
		for _, t := range tables {
			names = append(names, f.name+" "+t)
		}
	}
	return names, errors.Join(errs...)
}

// standing lists the tables of a family. The list is root's to read; modules
// are for everybody.
func (f legacyFamily) standing() ([]string, error) {
	listed, err := os.ReadFile("/proc/thread-self/net/" + f.list)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		return strings.Fields(string(listed)), nil
	}
	loaded, moduleErr := os.ReadFile("/proc/modules")
	if moduleErr != nil {
		return nil, fmt.Errorf("%w: %w", errHidden, err)
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

// hookOrder is the kernel's numbering of hooks.
var hookOrder = []Hook{Arrival, Input, Forward, Output, Leaving}

// readLegacy reads all tables that matter and are not hidden.
func readLegacy() ([]legacyChains, error) {
	var all []legacyChains
	for _, f := range legacyFamilies {
		names, err := f.standing()
		if err != nil && !errors.Is(err, errHidden) {
			return all, err
		}
		for _, name := range names {
			if _, matters := legacyPriorities[name]; !matters {
				continue
			}
			t, err := f.read(name)
			if errors.Is(err, unix.ENOENT) {
				continue // of its module another network namespace has one
			}
			if err != nil {
				return all, fmt.Errorf("cannot read table %s of iptables-legacy (%s): %w", name, f.name, err)
			}
			all = append(all, t)
		}
	}
	slices.SortStableFunc(all, func(a, b legacyChains) int { return int(a.priority - b.priority) })
	return all, nil
}

// read reads one table. Somebody may change it between the two questions; then
// the kernel says so, and it is asked again.
func (f legacyFamily) read(name string) (legacyChains, error) {
	socket, err := unix.Socket(f.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return legacyChains{}, err
	}
	defer unix.Close(socket)
	const tries = 3
	for range tries {
		var t legacyTable
		if t, err = f.info(socket, name); err != nil {
			return legacyChains{}, err
		}
		// struct ipt_get_entries: the name, the size, and the entries, aligned.
		const head = tableNameSize + 8
		answer := make([]byte, head+int(t.size))
		copy(answer, name)
		binary.NativeEndian.PutUint32(answer[tableNameSize:], t.size)
		if err = getSockOpt(socket, f.level, sockGetEntries, answer); err == nil {
			return parseLegacy(t, f.layout, answer[head:])
		}
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return legacyChains{}, err
}

// info asks for the places of a table's chains: struct ipt_getinfo.
func (f legacyFamily) info(socket int, name string) (legacyTable, error) {
	const hooks, entries, size = tableNameSize + 4, tableNameSize + 44, tableNameSize + 48
	answer := make([]byte, entries+8)
	copy(answer, name)
	if err := getSockOpt(socket, f.level, sockGetInfo, answer); err != nil {
		return legacyTable{}, err
	}
	t := legacyTable{family: f.name, name: name, heads: map[Hook]uint32{}, ends: map[Hook]uint32{}}
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(answer[at:]) }
	valid := word(tableNameSize)
	for i, hook := range hookOrder {
		if valid&(1<<i) != 0 {
			t.heads[hook], t.ends[hook] = word(hooks+4*i), word(hooks+4*(len(hookOrder)+i))
		}
	}
	t.size = word(size)
	const most = 64 << 20 // far beyond any table that somebody could want
	if t.size > most {
		return t, fmt.Errorf("it is too large (%d bytes)", t.size)
	}
	return t, nil
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

// text is a name that is filled up with zeros.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
