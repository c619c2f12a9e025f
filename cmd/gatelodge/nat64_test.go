package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// A home whose network has IPv6 and a NAT64 only reaches a gate that it knows by
// an IPv4 address.
func TestAHomeBehindNAT64(t *testing.T) {
	l := newJoinedLab(t)
	router := l.Host("cgnat")
	gate := netip.AddrPortFrom(l.Gate().IPv4, 55107)
	run(t, router, "sysctl", "-qw", "net.ipv6.conf.lan1.disable_ipv6=0", "net.ipv6.conf.lo.disable_ipv6=0")
	run(t, router, "ip", "addr", "add", "fd01::1/64", "dev", "lan1", "nodad")
	run(t, router, "ip", "addr", "add", "64:ff9b::c633:6401/128", "dev", "lo", "nodad")
	run(t, l.Home(), "ip", "addr", "add", "fd01::10/64", "dev", "eth0", "nodad")
	run(t, l.Home(), "ip", "-6", "route", "add", "default", "via", "fd01::1")

	// The resolver of such a network. The labs' hosts share this file, and no
	// other one looks names up.
	resolv := filepath.Join(l.Home().Root(), "resolv.conf")
	must(t, os.WriteFile(resolv, []byte("nameserver fd01::1\n"), 0o644))
	must(t, unix.Mount(resolv, "/etc/resolv.conf", "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount("/etc/resolv.conf", unix.MNT_DETACH)) })
	names, err := router.ListenPacket("udp", "[fd01::1]:53")
	must(t, err)
	front, err := router.ListenPacket("udp", "[64:ff9b::c633:6401]:55107")
	must(t, err)
	relay := translator{front: front, dial: func() (net.Conn, error) { return router.Dial(context.Background(), "udp", gate.String()) }}
	var done sync.WaitGroup
	done.Go(relay.run)
	done.Go(func() { resolve64(names) })
	t.Cleanup(func() { must(t, errors.Join(front.Close(), names.Close())); done.Wait() })

	appendTo(t, filepath.Join(l.Home().Root(), "etc/gatelodge/home.toml"), fmt.Sprintf("\n[gate]\nendpoints = [%q]\n", gate))
	run(t, l.Home(), "ip", "route", "del", "default")
	if _, err := l.Home().Gatelodge(t.Context(), "apply"); err != nil {
		t.Fatal(err)
	}
	must(t, l.Home().Stop(t.Context()))
	must(t, l.Home().Start())
	eventually(t, "home uses the NAT64", func(ctx context.Context) error {
		s, err := l.Home().Report(ctx, "--json")
		if err == nil {
			err = mentions(s, "[64:ff9b::c633:6401]:55107")
		}
		return err
	})
	eventually(t, "the tunnel is up", isUp(l.Home()))
	at := netip.AddrPortFrom(l.Gate().IPv4, portEcho)
	eventually(t, "a visitor is served", func(ctx context.Context) error {
		_, err := lab.ProbeTCP(ctx, l.Visitor(), at)
		return err
	})
}

func mentions(text, what string) error {
	if !strings.Contains(text, what) {
		return fmt.Errorf("%q is not in:\n%s", what, text)
	}
	return nil
}

// resolve64 is a resolver that has the prefix 64:ff9b::/96 before whatever name
// is looked up, which is the one of RFC 7050.
func resolve64(c net.PacketConn) {
	packet := make([]byte, 512)
	for {
		n, from, err := c.ReadFrom(packet)
		if err != nil {
			return
		}
		var p dnsmessage.Parser
		h, err := p.Start(packet[:n])
		if err != nil {
			continue
		}
		q, err := p.Question()
		if err != nil {
			continue
		}
		answer := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true}, Questions: []dnsmessage.Question{q}}
		if q.Name.String() == "ipv4only.arpa." && q.Type == dnsmessage.TypeAAAA {
			known := netip.MustParseAddr("64:ff9b::c000:aa")
			answer.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AAAAResource{AAAA: known.As16()},
			}}
		}
		if text, err := answer.Pack(); err == nil {
			_, _ = c.WriteTo(text, from) // what is lost is asked again
		}
	}
}

// translator is a NAT64 for one address: the kernel has none.
type translator struct {
	front net.PacketConn
	dial  func() (net.Conn, error)
}

func (r translator) run() {
	behind := map[string]net.Conn{}
	defer func() {
		for _, c := range behind {
			_ = c.Close()
		}
	}()
	packet := make([]byte, 65536)
	for {
		n, from, err := r.front.ReadFrom(packet)
		if err != nil {
			return
		}
		c := behind[from.String()]
		if c == nil {
			if c, err = r.dial(); err != nil {
				return
			}
			behind[from.String()] = c
			go r.back(c, from)
		}
		_, _ = c.Write(packet[:n]) // what is lost is sent again
	}
}

func (r translator) back(c net.Conn, to net.Addr) {
	packet := make([]byte, 65536)
	for {
		n, err := c.Read(packet)
		if err != nil {
			return
		}
		if _, err := r.front.WriteTo(packet[:n], to); err != nil {
			return
		}
	}
}
