package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

func TestErrorsHaveAVoiceAndAnExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		hint string
	}{
		{errors.New("odd"), exitFailed, ""},
		{fail(exitUsage, "look here", "wrong"), exitUsage, "look here"},
		{fmt.Errorf("outside: %w", fail(exitDiffers, "gatelodge apply", "differs")), exitDiffers, "gatelodge apply"},
		{fmt.Errorf("x: %w", daemon.ErrNoRole), exitFailed, "gate init"},
		{fmt.Errorf("x: %w", daemon.ErrNotRunning), exitUnreachable, "gatelodge up"},
		{fmt.Errorf("x: %w", fs.ErrPermission), exitPrivilege, "sudo"},
		{&daemon.RefusedError{Message: "no", Hint: "ask"}, exitFailed, "ask"},
		{config.Errors{{File: "home.toml", Line: 1, Column: 1, Message: "bad"}}, exitFailed, "gatelodge check"},
	} {
		var out bytes.Buffer
		if code := report(&out, c.err); code != c.code {
			t.Errorf("%v: exit code %d, wanted %d", c.err, code, c.code)
		}
		if !strings.HasPrefix(out.String(), "gatelodge: error: ") || !strings.Contains(out.String(), c.hint) {
			t.Errorf("%v is said as %q", c.err, out.String())
		}
	}
}

// A line of the daemon's, or of a file's name, must not be taken for one of
// ours.
func TestEveryLineOfAnErrorIsMarked(t *testing.T) {
	var out bytes.Buffer
	report(&out, errors.New("one\ntwo"))
	if got := out.String(); got != "gatelodge: error: one\ngatelodge: error: two\n" {
		t.Errorf("said %q", got)
	}
}

func TestNamesMadeFromPortsAreFreeAndValid(t *testing.T) {
	file := []byte("version = 1\n[forward.port-443]\nports = [\"443\"]\n")
	for port, want := range map[string]string{
		"80/tcp": "port-80", "443": "port-443-2", "2222:22/tcp": "port-2222-22", "8000-8009:9000-9009/udp": "port-8000-8009-9000-9009",
	} {
		got := freeName(file, port)
		if got != want {
			t.Errorf("freeName(%q) = %q, wanted %q", port, got, want)
		}
		if err := forward.CheckName(got); err != nil {
			t.Error(err)
		}
	}
}

func TestPortsMayBeJoinedByCommas(t *testing.T) {
	if got := splitPorts([]string{"80,443", "22/tcp,"}); strings.Join(got, " ") != "80 443 22/tcp" {
		t.Errorf("splitPorts: %q", got)
	}
}

func TestTheRoleOfAFileIsInItsName(t *testing.T) {
	for name, want := range map[string]plan.Role{"home.toml": plan.Home, "a/b/my-home.toml": plan.Home, "gate.toml": plan.Gate, "x": plan.Gate} {
		if got := roleOfFile(name); got != want {
			t.Errorf("roleOfFile(%q) = %s", name, got)
		}
	}
}

// An invite's code fits on a terminal of 80 columns, and all its rows have the
// same width.
func TestQRCode(t *testing.T) {
	var out bytes.Buffer
	if err := printQR(&out, "GL1-"+strings.Repeat("01234567-", 16)+"0"); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for _, r := range rows {
		if len([]rune(r)) != len([]rune(rows[0])) {
			t.Fatal("the rows differ in width")
		}
	}
	if len(rows) > 40 || len([]rune(rows[0])) > 80 {
		t.Errorf("%d rows of %d columns do not fit a terminal", len(rows), len([]rune(rows[0])))
	}
}

// What expose says is where a visitor really gets in.
func TestOnlyUsableAddressesAreShown(t *testing.T) {
	addrs := func(text string) (list []netip.Addr) {
		for a := range strings.FieldsSeq(text) {
			list = append(list, netip.MustParseAddr(a))
		}
		return list
	}
	for _, c := range []struct{ public, tunnel, families, want string }{
		{"198.51.100.1 2001:db8::1", "10.99.0.2 fd00::2", "IPv4 and IPv6", "198.51.100.1 and 2001:db8::1"},
		{"198.51.100.1 2001:db8::1", "10.99.0.2", "IPv4 and IPv6", "198.51.100.1"},
		{"198.51.100.1 2001:db8::1", "10.99.0.2 fd00::2", "IPv4", "198.51.100.1"},
		{"198.51.100.1", "10.99.0.2 fd00::2", "IPv6", "no address of the gate, as it takes visitors by IPv6 only"},
	} {
		got := publicText(publicAddrs(status.Tunnel{Public: addrs(c.public), Addresses: addrs(c.tunnel)}, status.Forward{Families: c.families}), c.families)
		if got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
