package foreign

import (
	"testing"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// iptables writes ports as its own extensions: what is not known of a packet
// makes a rule doubtful only if what is known does not rule it out.
func TestPortsOfIPTables(t *testing.T) {
	every := [2]uint16{0, 0xffff}
	udp := Packet{Protocol: unix.IPPROTO_UDP, Port: 55107}
	for _, c := range []struct {
		name string
		info xt.InfoAny
		want truth
	}{
		{"--sport 67 --dport 68, as ufw lets DHCP in", &xt.Udp{SrcPorts: [2]uint16{67, 67}, DstPorts: [2]uint16{68, 68}}, no},
		{"--sport 67 --dport 55107", &xt.Udp{SrcPorts: [2]uint16{67, 67}, DstPorts: [2]uint16{55107, 55107}}, maybe},
		{"--dport 55107", &xt.Udp{SrcPorts: every, DstPorts: [2]uint16{55107, 55107}}, yes},
		{"any port", &xt.Udp{SrcPorts: every, DstPorts: every}, yes},
		{"! --dport 1", &xt.Udp{SrcPorts: every, DstPorts: [2]uint16{1, 1}, InvFlags: 2}, maybe},
		{"-p tcp --dport 55107", &xt.Tcp{SrcPorts: every, DstPorts: [2]uint16{55107, 55107}}, no},
		{"-p tcp --syn", &xt.Tcp{SrcPorts: every, DstPorts: every, FlagsMask: 2}, no},
	} {
		m := &match{packet: udp}
		if got := m.extension(&expr.Match{Info: c.info}); got != c.want {
			t.Errorf("%s: %d, not %d", c.name, got, c.want)
		}
	}
}

// So does nft(8)'s translation of iptables, which reads both ports at once.
func TestBothPortsAtOnce(t *testing.T) {
	for port, want := range map[byte]truth{68: no, 67: maybe} {
		m := &match{packet: Packet{Protocol: unix.IPPROTO_UDP, Port: 67}, regs: map[uint32][]byte{}, ports: map[uint32]bool{}, truth: yes}
		m.step(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 4}, 0)
		m.step(&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 67, 0, port}}, 0)
		if m.truth != want {
			t.Errorf("--sport 67 --dport %d: %d, not %d", port, m.truth, want)
		}
	}
}
