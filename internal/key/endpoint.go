package key

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxEndpoint is the number of characters an endpoint may have, which keeps
// an invite with four of them within a QR code.
const maxEndpoint = 80

// CheckEndpoint reports why s is not a WireGuard endpoint: HOST:PORT, where
// HOST is a DNS name or an address of one machine, IPv6 in brackets. Nothing
// else can be in a checked endpoint, control characters least of all, so that
// it may go to terminals, files and devices.
func CheckEndpoint(s string) error {
	if len(s) > maxEndpoint {
		return fmt.Errorf("endpoint %.20q… has %d characters; at most %d are allowed", s, len(s), maxEndpoint)
	}
	host, port, ok := cutPort(s)
	if !ok {
		return fmt.Errorf("endpoint %q is not of the form HOST:PORT, with an IPv6 address in brackets", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
		return fmt.Errorf("endpoint %q: %q is not a port from 1 to 65535", s, port)
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return checkAddress(s, a.Addr())
	}
	return checkHost(s, host)
}

// cutPort splits at the last colon, which must be the only one unless what is
// before it stands in brackets.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	host, port = s[:i], s[i+1:]
	bracketed := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")
	return host, port, bracketed || !strings.Contains(host, ":")
}

func checkAddress(s string, a netip.Addr) error {
	switch {
	case a.Zone() != "":
		return fmt.Errorf("endpoint %q has a zone, which means nothing to another machine", s)
	case a.Is4In6():
		return fmt.Errorf("endpoint %q has IPv4 written as IPv6; write %s", s, a.Unmap())
	case a.IsUnspecified() || a.IsMulticast():
		return fmt.Errorf("endpoint %q: %s is not the address of one machine", s, a)
	}
	return nil
}

// checkHost checks the form of a DNS name (RFC 1123, section 2.1), with the
// underscore that some providers use.
func checkHost(s, host string) error {
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return fmt.Errorf("endpoint %q: %q is neither an address nor a DNS name", s, host)
		}
	}
	// No top-level domain is a number: what ends in one is a damaged address.
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("endpoint %q: %q is not a valid address", s, host)
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			continue
		}
		return false
	}
	return true
}
