package firewall_test

import (
	"flag"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// against names a file with another table for a gate of these addresses, such
// as that of an older version, to be measured in turn with the one of today.
var against = flag.String("against", "", "a ruleset to measure the gate's beside")

// BenchmarkGate measures what the gate's rules cost: over plain links, without a
// tunnel, so that nothing else costs much. The visitor's packets are carried all
// the way in their own system call.
//
//	go test ./internal/host/firewall -run '^$' -bench Gate -count 6 -against old.nft
func BenchmarkGate(b *testing.B) {
	want := benchGate()
	today, err := firewall.Render(want)
	must(b, err)
	tables := []struct{ name, text string }{{"today", today}}
	if *against != "" {
		text, err := os.ReadFile(*against)
		must(b, err)
		tables = append(tables, struct{ name, text string }{"against", string(text)})
	}
	w := newWorld(b)
	w.apply(b, homeWant(mappings(netip.Addr{}, "5000", "10000-10001")...))
	serve(b, w.home, 5000)
	for _, load := range []struct {
		name string
		of   func(*testing.B, *world, string)
	}{
		{"connections", benchConnections}, {"datagrams", benchDatagrams}, {"echo", benchEcho}, {"bulk", benchBulk},
	} {
		for _, network := range []string{"4", "6"} {
			for _, table := range tables {
				b.Run(load.name+network+"/"+table.name, func(b *testing.B) {
					nft(b, w.gate, "table inet "+tableName+"\ndelete table inet "+tableName+"\n"+table.text)
					w.forget(b, w.gate)
					load.of(b, w, network)
				})
			}
		}
	}
}

// benchGate is a gate with many forwards and the room of a small machine.
func benchGate() plan.Firewall {
	want := gateWant(toHome(1, "5000"))
	for id := range uint32(200) {
		want.Gate.Forwards = append(want.Gate.Forwards, toHome(id+2, strconv.Itoa(int(10000+id))))
	}
	want.Gate.Connections = smallRoom
	return want
}

func called(network string) (visitor netip.Addr, to netip.AddrPort) {
	if network == "4" {
		return visitors[0], netip.AddrPortFrom(gatePublic4, 5000)
	}
	return visitors[2], netip.AddrPortFrom(gatePublic6, 5000)
}

// benchConnections opens connections, asks once and resets them, so that no
// port is kept from the next.
func benchConnections(b *testing.B, w *world, network string) {
	visitor, to := called(network)
	must(b, w.internet.Do(func() error {
		d := net.Dialer{Timeout: patience, LocalAddr: localAddr("tcp", visitor)}
		for b.Loop() {
			c, err := d.Dial("tcp", to.String())
			if err != nil {
				return err
			}
			if _, err := ask(c); err != nil {
				return err
			}
			_ = c.(*net.TCPConn).SetLinger(0)
			if err := c.Close(); err != nil {
				return err
			}
		}
		return nil
	}))
}

// benchDatagrams sends in one direction, once the service has answered: before
// that, older rules turned most of a flow away.
func benchDatagrams(b *testing.B, w *world, network string) {
	visitor, to := called(network)
	var service net.PacketConn
	must(b, w.home.Do(func() (err error) {
		service, err = net.ListenPacket("udp", ":10000")
		return err
	}))
	defer service.Close()
	go func() {
		buffer := make([]byte, 100)
		if _, from, err := service.ReadFrom(buffer); err == nil {
			_, _ = service.WriteTo(buffer[:1], from)
		}
	}()
	c, err := visit(b, w.internet, "udp", visitor, netip.AddrPortFrom(to.Addr(), 10000))
	must(b, err)
	_, err = ask(c)
	must(b, err)
	must(b, c.SetDeadline(time.Time{}))
	benchWrites(b, c, 100)
}

// benchEcho sends and awaits an answer.
func benchEcho(b *testing.B, w *world, network string) {
	visitor, to := called(network)
	c, err := visit(b, w.internet, "udp", visitor, to)
	must(b, err)
	for b.Loop() {
		if _, err := ask(c); err != nil {
			b.Fatal(err)
		}
	}
}

// benchBulk sends a stream in segments of the MTU.
func benchBulk(b *testing.B, w *world, network string) {
	visitor, to := called(network)
	var l net.Listener
	must(b, w.home.Do(func() (err error) {
		l, err = net.Listen("tcp", ":10001")
		return err
	}))
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	c, err := visit(b, w.internet, "tcp", visitor, netip.AddrPortFrom(to.Addr(), 10001))
	must(b, err)
	benchWrites(b, c, 1<<16)
}

func benchWrites(b *testing.B, c net.Conn, size int) {
	data := make([]byte, size)
	b.SetBytes(int64(size))
	for b.Loop() {
		if _, err := c.Write(data); err != nil {
			b.Fatal(err)
		}
	}
	must(b, c.Close())
}
