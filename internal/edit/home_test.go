package edit

import (
	"testing"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
)

func TestNamesMadeFromPortsAreFreeAndValid(t *testing.T) {
	h, err := config.ParseHome("home.toml", []byte("version = 1\n[forward.port-443]\nports = [\"443\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for port, want := range map[string]string{
		"80/tcp": "port-80", "443": "port-443-2", "2222:22/tcp": "port-2222-22", "8000-8009:9000-9009/udp": "port-8000-8009-9000-9009",
	} {
		got := freeName(h, port)
		if got != want {
			t.Errorf("freeName(%q) = %q, wanted %q", port, got, want)
		}
		if err := forward.CheckName(got); err != nil {
			t.Error(err)
		}
	}
}
