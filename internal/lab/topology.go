package lab

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wires are the cables, made as pairs of veth interfaces by ip -batch.
var wires = []wire{
	{end{"visitor", "eth0"}, end{"internet", "visitor"}},
	{end{"gate", "eth0"}, end{"internet", "gate"}},
	{end{"cgnat", "wan"}, end{"internet", "cgnat"}},
	{end{"home", "eth0"}, end{"cgnat", "home"}},
	{end{"device", "eth0"}, end{"cgnat", "device"}},
	{end{"home2", "eth0"}, end{"cgnat", "home2"}},
	{end{"container", "eth0"}, end{"home", "container"}},
}

// wire joins two hosts. The second one is nearer to the internet.
type wire [2]end

// end is one end of a wire: an interface of a host.
type end struct{ host, link string }

// lay makes the wire; towards a machine of the caller's, a tap interface.
func (l *Lab) lay(w wire) string {
	if slices.Contains(l.options.Machines, w[0].host) {
		return fmt.Sprintf("tuntap add name %s mode tap\n", w[1].link)
	}
	return fmt.Sprintf("link add name %s netns %s type veth peer name %s netns %s\n", w[0].link, l.options.Prefix+w[0].host, w[1].link, l.options.Prefix+w[1].host)
}

// connect makes the wires and configures every host.
func (l *Lab) connect(ctx context.Context) error {
	for _, w := range wires {
		if l.hosts[w[1].host] == nil {
			continue // what stands behind a machine of the caller's
		}
		if err := l.Host(w[1].host).batch(ctx, l.lay(w)); err != nil {
			return err
		}
	}
	for _, s := range l.sites() {
		h := l.Host(s.name)
		if err := h.setSysctls(s.sysctls); err != nil {
			return err
		}
		if err := h.batch(ctx, s.ip); err != nil {
			return err
		}
		if s.nft == "" {
			continue
		}
		if err := h.loadRules(ctx, s.nft); err != nil {
			return err
		}
	}
	for _, h := range l.Hosts() {
		if err := Until(ctx, time.Millisecond, h.settled); err != nil {
			return err
		}
	}
	return nil
}

// Socket is where the wire of a machine of the caller's ends: the emulator
// must be started on that host, and take that tap interface.
func (l *Lab) Socket(name string) (beside *Host, tap string) {
	for _, w := range wires {
		if w[0].host == name {
			return l.Host(w[1].host), w[1].link
		}
	}
	panic("the lab has no host " + name)
}

// settled reports why the host cannot be used yet: the kernel drops packets
// for some milliseconds after an interface came up.
func (h *Host) settled() error {
	return h.ns.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Type() != "device" && l.Type() != "tuntap" && l.Attrs().OperState != netlink.OperUp {
				return fmt.Errorf("on %s: %s is %s", h.Name, l.Attrs().Name, l.Attrs().OperState)
			}
		}
		addrs, err := netlink.AddrList(nil, netlink.FAMILY_V6)
		for _, a := range addrs {
			if h.IPv6.IsValid() && a.Flags&unix.IFA_F_TENTATIVE != 0 {
				return fmt.Errorf("on %s: %s is tentative", h.Name, a.IP)
			}
		}
		return err
	})
}

func (h *Host) batch(ctx context.Context, text string) error {
	_, err := h.run(ctx, strings.NewReader(text), "ip", "-batch", "-")
	return err
}

func (h *Host) loadRules(ctx context.Context, text string) error {
	_, err := h.run(ctx, strings.NewReader(text), "nft", "-f", "-")
	return err
}

func (h *Host) setSysctls(settings []string) error {
	return h.ns.Do(func() error {
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
				return fmt.Errorf("cannot set %s on %s: %w", s, h.Name, err)
			}
		}
		return nil
	})
}
