package homeside

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/words"
)

// readPorts reads ports as home.toml spells them; they may also be joined by commas.
func readPorts(args []string) ([]string, error) {
	var list []string
	var all []forward.Mapping
	for _, arg := range args {
		for typed := range strings.SplitSeq(arg, ",") {
			if typed == "" && arg != "" {
				continue // a comma at the end
			}
			text, err := words.Mapping(typed)
			if err != nil {
				return nil, err
			}
			mappings, err := forward.ParseMapping(text)
			if err != nil {
				return nil, err
			}
			for _, m := range mappings {
				for _, before := range all {
					if m.Public.Overlaps(before.Public) {
						return nil, fmt.Errorf("%s is given twice: in %q, and before it", m.Public, typed)
					}
				}
			}
			list, all = append(list, text), append(all, mappings...)
		}
	}
	return list, nil
}

// checkForward answers a wrong word on the command line as what it is, before
// the file comes into it.
func checkForward(ctx context.Context, f config.NewForward) error {
	if f.To != "" {
		if err := checkTo(ctx, f.To); err != nil {
			return err
		}
	}
	for _, a := range f.Allow {
		if err := checkAllow(a); err != nil {
			return err
		}
	}
	if f.Source != "" {
		if _, err := forward.ParseSource(f.Source); err != nil {
			return fmt.Errorf("--source: %w", err)
		}
	}
	if f.NewConnections != "" {
		if _, err := forward.ParseRate(f.NewConnections); err != nil {
			return fmt.Errorf("--limit-new: %w", err)
		}
	}
	if f.Name != "" {
		if err := forward.CheckName(f.Name); err != nil {
			return fmt.Errorf("--name: %w", err)
		}
	}
	return nil
}

// errHere is the answer to all names of this machine.
var errHere = errors.New("for a service on this machine leave --to out")

// resolveTime bounds the search for a name.
const resolveTime = 3 * time.Second

// checkTo wants an address: a name would have to be looked up again and again, and
// could lead elsewhere at any time.
func checkTo(ctx context.Context, to string) error {
	if a, err := netip.ParseAddr(to); err == nil {
		if a.IsLoopback() || a.IsUnspecified() {
			return errHere
		}
		return nil
	}
	if strings.EqualFold(strings.TrimSuffix(to, "."), "localhost") {
		return errHere
	}
	if host, port, err := net.SplitHostPort(to); err == nil {
		return fmt.Errorf("--to takes no port: write the service's port after a colon, as in 8443:%.5s --to %.40s", port, host)
	}
	none := fmt.Errorf("--to takes an address, such as 192.168.1.20, and %.80q is none", to)
	if !isName(to) {
		return none
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", to)
	if err != nil || len(found) == 0 {
		return none
	}
	if found[0].Unmap().IsLoopback() {
		return errHere
	}
	return fmt.Errorf("--to takes an address, as names may come to mean another: %.80s is %s now: --to %[2]s", to, found[0].Unmap())
}

// isName reports whether a text may be the name of a machine (RFC 1123).
func isName(text string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return strings.ContainsAny(text, letters) && strings.Trim(text, letters+"0123456789-._") == ""
}

// checkAllow wants an address or a prefix.
func checkAllow(text string) error {
	if _, err := netip.ParseAddr(text); err == nil {
		return nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return fmt.Errorf("--allow takes addresses and prefixes, such as 203.0.113.7 or 203.0.113.0/24, and %.80q is none", text)
	}
	if p != p.Masked() {
		return fmt.Errorf("--allow %s: the prefix is %s", text, p.Masked())
	}
	return nil
}
