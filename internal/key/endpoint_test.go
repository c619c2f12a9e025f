package key

import (
	"strings"
	"testing"
)

func TestCheckEndpoint(t *testing.T) {
	good := []string{
		"198.51.100.1:55107", "[2001:db8::1]:1", "vps.example.org:65535", "vps:51820", "a_b.example:1",
		"xn--bcher-kva.example:443", "1and1.example:443", "127.0.0.1:55107",
	}
	for _, s := range good {
		if err := CheckEndpoint(s); err != nil {
			t.Error(err)
		}
	}
	bad := []string{
		"", ":", "vps.example.org", "vps.example.org:", ":55107", "vps.example.org:0", "vps.example.org:65536",
		"vps.example.org:055107", "vps.example.org:+1", "vps.example.org:http", "2001:db8::1:55107", "[2001:db8::1]",
		"[fe80::1%eth0]:1", "[::ffff:198.51.100.1]:1", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1",
		"198.51.100.300:1", "198.51.100:1", "vps..example:1", ".example:1", "vps.example.:1", "-a.example:1", "a-.example:1",
		"vps example:1", "vps\nexample:1", "vps\x00.example:1", "vps\x1b[31m.example:1", "bücher.example:1", "a/b:1",
		"\u202egro.example:1", strings.Repeat("a", 64) + ".example:1", strings.Repeat("a.", 40) + "a:1",
	}
	for _, s := range bad {
		if err := CheckEndpoint(s); err == nil {
			t.Errorf("%q was accepted", s)
		} else if strings.ContainsAny(err.Error(), "\n\x00\x1b\u202e") {
			t.Errorf("the error repeats control characters: %q", err)
		}
	}
}
