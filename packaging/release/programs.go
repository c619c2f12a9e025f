package main

import (
	"strings"

	"github.com/goreleaser/nfpm/v2/files"
)

// program is one that is released, in a package of its own.
type program struct {
	name        string // of the program, its binaries and its package
	description string
	serves      bool // whether it has a service, a configuration and the documents
	brings      bool // whether it brings itself to machines of other architectures
	formats     map[string]format
}

var gatelodge = program{
	name: "gatelodge",
	description: `make a server at home reachable from the internet through a cheap VPS
A server behind NAT or CGNAT becomes reachable through a VPS: WireGuard joins
the two, nftables on the VPS forwards chosen ports. Services see the visitors'
own addresses; TLS keys and services stay at home.`,
	serves: true,
	brings: true,
	formats: map[string]format{
		"deb": {
			unit:       "/lib/systemd/system",
			zsh:        "/usr/share/zsh/vendor-completions",
			depends:    []string{"nftables (>= 1.0.2)"},
			recommends: []string{"openssh-client"},
			suggests:   []string{"gatelodge-lab", "wireguard-tools"},
			scripts:    map[string]string{"postinstall": "postinst", "preremove": "prerm", "postremove": "postrm"},
		},
		"rpm": {
			unit:       "/usr/lib/systemd/system",
			zsh:        "/usr/share/zsh/site-functions",
			manual:     files.TypeRPMDoc,
			licence:    files.TypeRPMLicence,
			depends:    []string{"nftables >= 1.0.2", "systemd"},
			recommends: []string{"openssh-clients"},
			suggests:   []string{"gatelodge-lab", "wireguard-tools"},
			scripts:    map[string]string{"postinstall": "post", "preremove": "preun", "postremove": "postun"},
			owns: []string{
				"/usr/lib/systemd/networkd.conf.d", "/usr/share/bash-completion", "/usr/share/bash-completion/completions",
				"/usr/share/fish", "/usr/share/fish/vendor_completions.d", "/usr/share/zsh", "/usr/share/zsh/site-functions",
			},
		},
		"apk": {
			zsh:     "/usr/share/zsh/site-functions",
			depends: []string{"nftables>=1.0.2"},
			scripts: map[string]string{"postinstall": "post-install", "postupgrade": "post-upgrade", "preremove": "pre-deinstall"},
		},
	},
}

// laboratory is what gatelodge lab hands over to. Its own programs, nft too,
// come with gatelodge, but for ip(8), and for nsenter(1) where that is not
// everywhere.
var laboratory = program{
	name: "gatelodge-lab",
	description: `try Gatelodge on one machine, in network namespaces
A small internet with a visitor, a gate, and homes behind NAT, in which the
real gatelodge runs and is probed. It needs no VPS, and touches nothing of the
machine's own network.`,
	formats: map[string]format{
		"deb": {
			zsh:      "/usr/share/zsh/vendor-completions",
			depends:  []string{"gatelodge (>= VERSION)", "iproute2"},
			replaces: []string{"gatelodge (<< VERSION)"}, // which had the manual pages
		},
		"rpm": {
			zsh:     "/usr/share/zsh/site-functions",
			manual:  files.TypeRPMDoc,
			licence: files.TypeRPMLicence,
			depends: []string{"gatelodge >= VERSION", "iproute", "util-linux"},
		},
		"apk": {
			zsh:     "/usr/share/zsh/site-functions",
			depends: []string{"gatelodge>=VERSION", "iproute2"},
		},
	},
}

// describedBy reports whether a manual page is about the program: gatelodge has
// all but the laboratory's.
func (p program) describedBy(page string) bool {
	return strings.HasPrefix(page, laboratory.name) == (p.name == laboratory.name)
}
