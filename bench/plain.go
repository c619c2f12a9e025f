package main

import (
	"bufio"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

const wireguardModule = "golang.zx2c4.com/wireguard"

// buildWireGuard builds the wireguard-go of go.mod, as Gatelodge is built.
func buildWireGuard(ctx context.Context, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", file, wireguardModule)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build wireguard-go, in the folder of this module: %w: %s", err, out)
	}
	return nil
}

// peer is one end of the plain tunnel. Process and UAPI socket go by the name
// of its interface.
type peer struct {
	host     *lab.Host
	link     string
	addr     string
	private  *ecdh.PrivateKey
	settings string // for the interface, in the terms of the UAPI
	toOther  string // for the peer
}

// setUpPlain follows the tutorials: wireguard-go on both sides, at the gate
// DNAT in and masquerade into the tunnel.
func setUpPlain(ctx context.Context, s *stand, o options) (values, error) {
	gate := peer{
		host: s.lab.Gate(), link: "wggate", addr: "10.8.0.1/24",
		settings: "listen_port=51820\n",
		toOther:  "allowed_ip=10.8.0.2/32\n",
	}
	home := peer{
		host: s.lab.Home(), link: "wghome", addr: "10.8.0.2/24",
		toOther: fmt.Sprintf("endpoint=%s:51820\nallowed_ip=10.8.0.0/24\npersistent_keepalive_interval=25\n", s.lab.Gate().IPv4),
	}
	if err := errors.Join(gate.makeKey(), home.makeKey()); err != nil {
		return nil, err
	}
	var err error
	if s.gate, err = s.startPeer(ctx, o, gate, home); err != nil {
		return nil, err
	}
	if s.home, err = s.startPeer(ctx, o, home, gate); err != nil {
		return nil, err
	}
	if err := s.forwardPlain(ctx); err != nil {
		return nil, err
	}
	return values{}, s.awaitAnswer(ctx)
}

func (p *peer) makeKey() (err error) {
	p.private, err = ecdh.X25519().GenerateKey(rand.Reader)
	return err
}

// startPeer starts wireguard-go, configures it, and brings the interface up.
func (s *stand) startPeer(ctx context.Context, o options, p, other peer) (pid int, err error) {
	ns, err := netns.Open(p.host.Name)
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(o.PlainWG, "-f", p.link)
	cmd.Env = append(os.Environ(), "LOG_LEVEL=silent", "WG_PROCESS_FOREGROUND=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us
	if err := ns.Do(cmd.Start); err != nil {
		return 0, err
	}
	s.ended = append(s.ended, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if err := configure(ctx, p, other); err != nil {
		return 0, fmt.Errorf("wireguard-go on %s: %w", p.host.Name, err)
	}
	if _, err := p.host.Run(ctx, "ip", "addr", "add", p.addr, "dev", p.link); err != nil {
		return 0, err
	}
	_, err = p.host.Run(ctx, "ip", "link", "set", p.link, "up")
	return cmd.Process.Pid, err
}

// configure tells wireguard-go keys and peers over its UAPI socket, which lies
// in /run, and that is the lab's own.
func configure(ctx context.Context, p, other peer) error {
	c, err := dialUAPI(ctx, "/var/run/wireguard/"+p.link+".sock")
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = fmt.Fprintf(c, "set=1\nprivate_key=%x\n%spublic_key=%x\n%s\n",
		p.private.Bytes(), p.settings, other.private.PublicKey().Bytes(), other.allowedBy(p))
	if err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != "errno=0" {
		return fmt.Errorf("it refuses its configuration: %q", line)
	}
	return nil
}

// allowedBy is what p says about the other.
func (peer) allowedBy(p peer) string { return p.toOther }

// dialUAPI waits for the socket, which appears once the program is up.
func dialUAPI(ctx context.Context, socket string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// plainRules are those of the tutorials, and the clamp that the better ones
// have, so that both send segments of the same size.
const plainRules = `
table ip plain {
	chain prerouting {
		type nat hook prerouting priority dstnat
		iifname "eth0" tcp dport %[1]d dnat to 10.8.0.2
		iifname "eth0" udp dport %[1]d dnat to 10.8.0.2
	}
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "wggate" masquerade
	}
	chain forward {
		type filter hook forward priority filter
		tcp flags syn tcp option maxseg size set rt mtu
	}
}
`

func (s *stand) forwardPlain(ctx context.Context) error {
	gate := s.lab.Gate()
	ns, err := netns.Open(gate.Name)
	if err != nil {
		return err
	}
	if err := ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }); err != nil {
		return err
	}
	_, err = gate.Run(ctx, "nft", fmt.Sprintf(plainRules, port))
	return err
}
