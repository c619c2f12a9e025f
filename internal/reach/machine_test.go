package reach

import (
	"net"
	"net/netip"
	"testing"
)

// A machine that refuses is up as well; one that is not there is not.
func TestWhetherAMachineAnswers(t *testing.T) {
	listens, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := listens.Addr().(*net.TCPAddr).AddrPort().Port()
	local := netip.MustParseAddr("127.0.0.1")
	if got := AnsweringPort(t.Context(), local, []uint16{open}); got != open {
		t.Errorf("with a listener: %d", got)
	}
	if err := listens.Close(); err != nil {
		t.Fatal(err)
	}
	if got := AnsweringPort(t.Context(), local, []uint16{open}); got != open {
		t.Errorf("with a refusal: %d", got)
	}
	if got := AnsweringPort(t.Context(), netip.MustParseAddr("255.255.255.255"), []uint16{22, 80}); got != 0 {
		t.Errorf("without a way: %d", got)
	}
}
