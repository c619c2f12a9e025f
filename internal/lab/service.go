package lab

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// The ports of the services, as they are known on their hosts, and how many ports
// the games have.
const (
	PortSSH       = 22    // home, published as PortRemapped
	PortWeb       = 80    // home and container
	PortHTTPS     = 443   // home
	PortEcho      = 7000  // home
	PortMasked    = 7001  // home, in masquerade mode
	PortDevice    = 7002  // device
	PortHome2     = 7100  // home2
	PortBulk      = 9000  // home
	PortGames     = 25565 // home, first of GamePorts
	GamePorts     = 6
	PortVoice     = 64738 // home
	PortContainer = 8081  // home's Docker leads it to port 80 of container
	PortRemapped  = 8022  // the gate's, for home's PortSSH
	PortGateSSH   = 2222  // the gate's own
)

// startServices starts everything that visitors can reach.
func (l *Lab) startServices(ctx context.Context) (err error) {
	if l.cert, err = newCertificate(certificateName); err != nil {
		return err
	}
	errs := []error{l.Host("device").Echo(PortDevice), l.Home2().Echo(PortHome2)}
	if !slices.Contains(l.options.Machines, "home") {
		errs = append(errs, l.startHomeServices())
	}
	if !slices.Contains(l.options.Machines, "gate") {
		errs = append(errs, l.Gate().startSSH(ctx))
	}
	return errors.Join(errs...)
}

func (l *Lab) startHomeServices() error {
	home := l.Home()
	errs := []error{
		home.serveWeb(PortWeb, nil),
		home.serveWeb(PortHTTPS, l.cert.serverConfig()),
		home.ServeTCP(PortBulk, home.bulk),
		l.Host("container").serveWeb(PortWeb, nil),
	}
	for _, port := range []uint16{PortEcho, PortMasked, PortVoice, PortSSH} {
		errs = append(errs, home.Echo(port))
	}
	for port := range uint16(GamePorts) {
		errs = append(errs, home.Echo(PortGames+port))
	}
	return errors.Join(errs...)
}

// greeting is how every service says who it is and which address it sees.
func greeting(host string, peer net.Addr) string {
	return fmt.Sprintf("%s %s\n", host, addrPort(peer))
}

// addrPort undoes the mapping of IPv4 into IPv6 that wildcard sockets show.
func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Echo serves a port over TCP and UDP, on the wildcard address, until the lab
// closes: a greeting, then what the visitor sent. Over UDP the greeting is in
// front of each packet.
func (h *Host) Echo(port uint16) error {
	tcp := h.ServeTCP(port, func(c net.Conn) { EchoTCP(c, h.Name) })
	return errors.Join(tcp, h.echoUDP(port))
}

// EchoTCP serves one visitor of an echo service: a greeting with the host's
// name, then what the visitor sends.
func EchoTCP(c net.Conn, host string) {
	if _, err := io.WriteString(c, greeting(host, c.RemoteAddr())); err == nil {
		_, _ = io.Copy(c, c)
	}
}

// ServeTCP serves a TCP port of the host until the lab closes.
func (h *Host) ServeTCP(port uint16, serve func(net.Conn)) error {
	l, err := h.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return fmt.Errorf("on %s: %w", h.Name, err)
	}
	h.lab.onClose(l.Close)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return nil
}

func (h *Host) echoUDP(port uint16) error {
	c, err := h.ListenPacket("udp", fmt.Sprintf(":%d", port))
	if err != nil {
		return fmt.Errorf("on %s: %w", h.Name, err)
	}
	h.lab.onClose(c.Close)
	go EchoUDP(c, h.Name)
	return nil
}

// EchoUDP serves all visitors of an echo service until c is closed: each
// packet goes back behind a greeting. It answers with a plain sendto(2), as
// most programs do: the kernel chooses the source address, not the address the
// packet was sent to.
func EchoUDP(c net.PacketConn, host string) {
	buf := make([]byte, 1<<16)
	for {
		n, peer, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // an error is that of an earlier answer
			_, _ = c.WriteTo(append([]byte(greeting(host, peer)), buf[:n]...), peer)
		}
	}
}

// serveWeb serves HTTP, over TLS if there is a configuration for it.
func (h *Host) serveWeb(port uint16, secure *tls.Config) error {
	l, err := h.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return fmt.Errorf("on %s: %w", h.Name, err)
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s\n", h.Name, r.RemoteAddr)
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // visitors that hang up
	}
	h.lab.onClose(s.Close)
	go func() { _ = s.Serve(l) }()
	return nil
}

// bulk is the service for large transfers. After the greeting the visitor
// sends a direction, 'd' or 'u', and a number of bytes; the bytes follow, down
// or up; then the service sends their checksum.
func (h *Host) bulk(c net.Conn) {
	if _, err := io.WriteString(c, greeting(h.Name, c.RemoteAddr())); err != nil {
		return
	}
	r := bufio.NewReader(c)
	var order struct {
		Direction byte
		Size      uint64
	}
	if err := binary.Read(r, binary.BigEndian, &order); err != nil {
		return
	}
	sum := sha256.New()
	var err error
	if order.Direction == 'd' {
		_, err = io.CopyN(io.MultiWriter(c, sum), noise(), int64(order.Size))
	} else {
		_, err = io.CopyN(sum, r, int64(order.Size))
	}
	if err == nil {
		_, _ = c.Write(sum.Sum(nil))
	}
}

// noise is data that does not repeat, so that what arrives twice, late or at
// the wrong place changes the checksum.
func noise() io.Reader { return rand.NewChaCha8([32]byte{}) }
