package survey

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/printable"
)

// Parse reads what the script has printed, after whatever a login prints. The
// error says what of it makes no sense, and how it begins.
func Parse(out string) (Facts, error) {
	const begin = "look=1\n"
	body, begun := strings.CutPrefix(out, begin)
	if !begun {
		_, body, begun = strings.Cut(out, "\n"+begin)
	}
	body, _, ended := strings.Cut(body, "\ndone=1")
	if !begun || !ended {
		return Facts{}, fmt.Errorf("the answer is incomplete: %.200q", strings.TrimSpace(out[:min(len(out), 1000)]))
	}
	f := Facts{DiskKiB: -1, StateKiB: -1, MemoryKiB: -1}
	err := f.Take(body)
	return f, err
}

// What a machine may say of itself: lines in all, bytes in one, words of which there
// are several, and open ports.
const (
	maxLines     = 50_000
	maxLine      = 300
	maxWords     = 64
	maxListeners = 10_000 // more are no error: they are left out
)

// Take adds more lines of the form that the script prints, up to one that makes
// no sense.
func (f *Facts) Take(lines string) error {
	count := 0
	for line := range strings.Lines(lines) {
		if count++; count > maxLines {
			return fmt.Errorf("the answer has more than %d lines", maxLines)
		}
		name, value, _ := strings.Cut(printable.Line(strings.TrimSpace(line), maxLine), "=")
		if err := f.set(name, value); err != nil {
			return fmt.Errorf("the machine says that %s is %.80q: %w", name, value, err)
		}
	}
	return nil
}

// set takes one line over. A name that it does not know is none of its own.
func (f *Facts) set(name, value string) (err error) {
	texts := map[string]*string{
		"system": &f.System, "machine": &f.Machine, "kernel": &f.Kernel, "init": &f.Init, "virtual": &f.Virtual,
		"distribution": &f.Distribution, "distribution_name": &f.DistributionName, "nft_package": &f.NFTPackage,
		"program": &f.Program, "unit": &f.Unit, "package": &f.Package,
	}
	numbers := map[string]*int{"uid": &f.UID, "disk_kib": &f.DiskKiB, "state_kib": &f.StateKiB, "memory_kib": &f.MemoryKiB}
	flags := map[string]*bool{"apt": &f.APT, "tun": &f.TUN, "wireguard": &f.WireGuard, "systemctl": &f.Systemctl, "forwarding": &f.Forwarding, "docker": &f.Docker, "disabled": &f.Disabled}
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
func (f *Facts) setStructured(name, value string) (err error) {
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
