package reach

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// UsualPorts are those of which a machine on the internet that is up answers
// one, with a connection or a refusal.
func UsualPorts() []uint16 { return []uint16{22, 443, 80} }

// lookTime is how long a machine has to answer.
const lookTime = 3 * time.Second

// AnsweringPort returns a TCP port at which a machine answers, even if only to
// refuse; 0 if it answers at none of them.
func AnsweringPort(ctx context.Context, addr netip.Addr, ports []uint16) uint16 {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	found := make(chan uint16, len(ports))
	for _, port := range ports {
		go func() {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(addr.String(), strconv.Itoa(int(port))))
			if err == nil {
				_ = c.Close() // nothing was to be said
			}
			if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				port = 0
			}
			found <- port
		}()
	}
	for range ports {
		if port := <-found; port > 0 {
			return port
		}
	}
	return 0
}
