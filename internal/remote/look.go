package remote

import (
	"context"
	_ "embed" // for the script
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/printable"
)

// lookScript is all that is carried out before the owner has agreed.
//
//go:embed look.sh
var lookScript string

// keptScript looks into folders that only root can read. What install itself
// writes down is not the owner's.
const keptScript = `for role in gate home; do
	for file in "$1/var/lib/gatelodge/$role.json" "$1/var/lib/gatelodge/$role.json.last"; do
		if [ -e "$file" ]; then echo "state=$role"; break; fi
	done
done
for folder in /etc/gatelodge /var/lib/gatelodge; do
	if [ -n "$(ls -A "$1$folder" 2>/dev/null | grep -vx installed.json)" ]; then echo "kept=$folder"; fi
done`

// Found is what a machine is, as the script has found it. Amounts that it
// could not find out are -1.
type Found struct {
	UID              int
	System           string // uname -s
	Machine          string // uname -m
	Kernel           string // uname -r
	Distribution     string // ID and ID_LIKE of os-release(5)
	DistributionName string
	Init             string // "systemd", or the name of process 1
	Systemctl        bool   // whether there is a systemctl(1)
	Virtual          string // as systemd-detect-virt(1) says it

	NFT        string // version; "" is none
	NFTPackage string // its state, for dpkg
	APT        bool
	TUN        bool // whether /dev/net/tun can be used
	WireGuard  bool // whether the kernel has it

	Connection netip.AddrPort // of the ssh session, at its server's end
	Addresses  []netip.Addr   // of global scope
	Listeners  []Listener
	listed     map[Listener]bool
	Firewalls  []string // of others, that are active

	DiskKiB, StateKiB, MemoryKiB int // under /usr/local and /var/lib; in all

	Program  string   // the installed gatelodge
	Version  string   // "" if it does not start
	Unit     string   // its file
	Disabled bool     // whether systemd does not start it at boot
	Package  string   // "deb", "rpm", "apk"; "" if no package has brought it
	Roles    []string // by the configuration that is there
	States   []string // roles of which keys and enrolments are there
	Kept     []string // folders of gatelodge's that are there and not empty
}

// lookTime bounds the looking: a machine short of memory may need long.
const lookTime = time.Minute

// Look finds out what the machine is. It changes nothing there. What belongs
// to gatelodge is looked for below root. Rise comes before.
func (c *Conn) Look(ctx context.Context, root string) (Found, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTime, fmt.Errorf("no answer within %s", lookTime))
	defer cancel()
	root = strings.TrimRight(root, "/")
	script := "root_prefix=" + Quote(root) + "\n" + lookScript
	out := &answer{begun: true} // a line of the script's own is the mark
	if err := c.run(ctx, Quote("sh"), strings.NewReader(script), out); err != nil {
		return Found{}, fmt.Errorf("cannot look at the VPS: %w", err)
	}
	f, err := Parse(out.text.String())
	if err != nil {
		return f, err
	}
	kept, err := c.Root(ctx, Command{Script: keptScript, Args: []string{root}})
	if err != nil {
		return f, fmt.Errorf("cannot look at what gatelodge keeps on the VPS: %w", err)
	}
	err = f.take(kept)
	return f, err
}

// Parse reads what the script has printed, after whatever a login prints.
func Parse(out string) (Found, error) {
	const begin = "look=1\n"
	body, begun := strings.CutPrefix(out, begin)
	if !begun {
		_, body, begun = strings.Cut(out, "\n"+begin)
	}
	body, _, ended := strings.Cut(body, "\ndone=1")
	if !begun || !ended {
		return Found{}, fmt.Errorf("the answer of the VPS is not whole: %.200q", strings.TrimSpace(out[:min(len(out), 1000)]))
	}
	f := Found{DiskKiB: -1, StateKiB: -1, MemoryKiB: -1}
	err := f.take(body)
	return f, err
}

// What a VPS may say of itself: lines in all, bytes in one, words of which there
// are several, and open ports.
const (
	maxLines     = 50_000
	maxLine      = 300
	maxWords     = 64
	maxListeners = 10_000 // more are no error: they are left out
)

// take takes lines over, up to one that makes no sense.
func (f *Found) take(lines string) error {
	count := 0
	for line := range strings.Lines(lines) {
		if count++; count > maxLines {
			return fmt.Errorf("the VPS says more than %d things of itself", maxLines)
		}
		name, value, _ := strings.Cut(printable.Line(strings.TrimSpace(line), maxLine), "=")
		if err := f.set(name, value); err != nil {
			return fmt.Errorf("the VPS says that %s is %.80q: %w", name, value, err)
		}
	}
	return nil
}

// set takes one line over. A name that it does not know is none of its own.
func (f *Found) set(name, value string) (err error) {
	texts := map[string]*string{
		"system": &f.System, "machine": &f.Machine, "kernel": &f.Kernel, "init": &f.Init, "virtual": &f.Virtual,
		"distribution": &f.Distribution, "distribution_name": &f.DistributionName, "nft_package": &f.NFTPackage,
		"program": &f.Program, "unit": &f.Unit, "package": &f.Package,
	}
	numbers := map[string]*int{"uid": &f.UID, "disk_kib": &f.DiskKiB, "state_kib": &f.StateKiB, "memory_kib": &f.MemoryKiB}
	flags := map[string]*bool{"apt": &f.APT, "tun": &f.TUN, "wireguard": &f.WireGuard, "systemctl": &f.Systemctl, "disabled": &f.Disabled}
	lists := map[string]*[]string{"firewall": &f.Firewalls, "role": &f.Roles, "state": &f.States, "kept": &f.Kept}
	if t, ok := texts[name]; ok {
		*t = value
	} else if n, ok := numbers[name]; ok {
		*n, err = strconv.Atoi(value)
	} else if b, ok := flags[name]; ok {
		*b = value == "yes"
	} else if l, ok := lists[name]; ok {
		err = add(l, value)
	} else {
		err = f.setStructured(name, value)
	}
	return err
}

// add appends to a list that has an end.
func add[T any](list *[]T, item T) error {
	if len(*list) == maxWords {
		return fmt.Errorf("there are more than %d of these", maxWords)
	}
	*list = append(*list, item)
	return nil
}

// setStructured takes over a line that is more than a word.
func (f *Found) setStructured(name, value string) (err error) {
	switch name {
	case "nft":
		f.NFT = nftVersion(value)
	case "version":
		f.Version = strings.TrimPrefix(value, "gatelodge version ")
	case "ssh_connection":
		f.Connection, err = serverEnd(value)
	case "address":
		var addr netip.Addr
		addr, err = netip.ParseAddr(value)
		if err == nil {
			err = add(&f.Addresses, addr)
		}
	case "listen":
		err = f.addListener(value)
	case "socket":
		err = f.addSocket(value)
	}
	return err
}

// nftVersion finds the number in "nftables v1.0.6 (Lester Gooch #5)". One that
// says none is judged by what it does.
func nftVersion(text string) string {
	for word := range strings.FieldsSeq(text) {
		if v, ok := strings.CutPrefix(word, "v"); ok && len(numbers(v)) > 0 {
			return v
		}
	}
	return "unknown"
}

// serverEnd reads SSH_CONNECTION: client address, client port, server
// address, server port.
func serverEnd(value string) (netip.AddrPort, error) {
	words := strings.Fields(value)
	if len(words) != 4 {
		return netip.AddrPort{}, nil
	}
	addr, err := netip.ParseAddr(words[2])
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(words[3], 10, 16)
	return netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(port)), err
}
