package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wires are the cables, made as pairs of veth interfaces by ip -batch.
const wires = `
link add name eth0 netns visitor type veth peer name visitor netns internet
link add name eth0 netns gate type veth peer name gate netns internet
link add name wan netns cgnat type veth peer name cgnat netns internet
link add name eth0 netns home type veth peer name home netns cgnat
link add name eth0 netns device type veth peer name device netns cgnat
link add name eth0 netns home2 type veth peer name home2 netns cgnat
link add name eth0 netns container type veth peer name container netns home
`

// connect makes the wires and configures every host.
func (l *Lab) connect(ctx context.Context) error {
	if err := l.Host("internet").batch(ctx, wires); err != nil {
		return err
	}
	for _, s := range sites() {
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
		if err := until(ctx, time.Millisecond, h.settled); err != nil {
			return err
		}
	}
	return nil
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
			if l.Type() != "device" && l.Attrs().OperState != netlink.OperUp {
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
