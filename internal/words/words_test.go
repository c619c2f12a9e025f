package words

import (
	"strings"
	"testing"
	"time"
)

// outcome is what was read, or the error.
func outcome[T any](show func(T) string, v T, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return show(v)
}

func same(s string) string { return s }

func TestPortsAsPeopleTypeThem(t *testing.T) {
	for typed, want := range map[string]string{
		"443": "443", " 80/TCP ": "80/tcp", "25565-25570/Udp": "25565-25570/udp", "2222:22/tcp": "2222:22/tcp",
		"https":   "error: https is a name: write its number, 443",
		"HTTP":    "error: http is a name: write its number, 80/tcp",
		"ssh/tcp": "error: ssh is a name: write its number, 22/tcp",
		"tcp/80":  `error: "tcp/80" has the protocol first: write 80/tcp`,
		"udp/1-5": `error: "udp/1-5" has the protocol first: write 1-5/udp`,
		":80":     `error: ":80" lacks the port that visitors use: write 8080:80 for port 8080`,
		"80:":     `error: "80:" lacks the port of the service here: write 80, or 80:80 for port 80 here`,
		"":        "error: a port is missing: write a number, such as 443",
		"/tcp":    `error: "/tcp" lacks its port: write 443/tcp`, "80/": `error: "80/" lacks its protocol: write 80/tcp or 80/udp`,
		"udp": "error: udp is a protocol: write it after its port, such as 443/udp", "http://x:80": `error: "http://x:80" is not a port: write its number alone, such as 443`,
		"127.0.0.1:80":  `error: "127.0.0.1:80" is not a port: write its number alone, such as 443`,
		"0":             "error: port 0 does not exist: ports go from 1 to 65535",
		"99999":         `error: "99999" is not a port: write a number from 1 to 65535`,
		"80/sctp":       `error: ports "80/sctp": protocol "sctp" is not tcp or udp`,
		"90-80":         `error: port range "90-80" runs backwards; write 80-90`,
		"80-82:90":      `error: ports "80-82:90" map 3 public ports to 1 local ones; both ranges must have the same length`,
		"80\x1b[2J/tcp": `error: "80\x1b[2J/tcp" is not a port: write its number alone, such as 443`,
	} {
		got, err := Mapping(typed)
		if said := outcome(same, got, err); said != want {
			t.Errorf("%q: %s, not %s", typed, said, want)
		}
	}
	if _, err := Ports("80:81"); err == nil {
		t.Error("a policy takes a second port")
	}
}

func TestTimesAsPeopleTypeThem(t *testing.T) {
	for typed, want := range map[string]string{
		"24h": "24h0m0s", "1d": "24h0m0s", "7D": "168h0m0s", "1h30m": "1h30m0s", "90s": "1m30s", " 2h ": "2h0m0s",
		"24": `error: "24" has no unit: write 24m, 24h or 24d`,
		"":   `error: "" is not a time: write 90m, 24h or 7d`, "1w": `error: "1w" is not a time: write 90m, 24h or 7d`,
		"h": `error: "h" is not a time: write 90m, 24h or 7d`, "-1h": `error: "-1h" is not a time: write 90m, 24h or 7d`,
		"0h": `error: "0h" is not a time: write 90m, 24h or 7d`, "99999999999h": `error: "99999999999h" is not a time: write 90m, 24h or 7d`,
		"1.5h": `error: "1.5h" is not a time: write 90m, 24h or 7d`, "2147483647d": `error: "2147483647d" is not a time: write 90m, 24h or 7d`,
	} {
		got, err := Duration(typed)
		if said := outcome(time.Duration.String, got, err); said != want {
			t.Errorf("%q: %s, not %s", typed, said, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, typed := range []string{"", "-1", "0", "65536", "1e3", "0x10", "99999999999999999999", "one"} {
		if n, err := Number(typed, "port", 65535); err == nil || !strings.Contains(err.Error(), "is not a port: write a number from 1 to 65535") {
			t.Errorf("%q is %d, %v", typed, n, err)
		}
	}
	if n, err := Number("65535", "port", 65535); err != nil || n != 65535 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestNearest(t *testing.T) {
	commands := []string{"init", "invite", "homes", "revoke"}
	for word, want := range map[string]string{"invit": "invite", "rovoke": "revoke", "hoems": "homes", "x": "", strings.Repeat("homes", 20): ""} {
		if got := Nearest(word, commands); got != want {
			t.Errorf("%.20q is near %q, not %q", word, got, want)
		}
	}
}
