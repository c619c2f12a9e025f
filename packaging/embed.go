// Package packaging holds the files by which a system knows Gatelodge. They
// are part of the packages, and of the program itself, which can install
// itself where there is no package.
package packaging

import _ "embed" // for the files

// Unit is the systemd unit gatelodge.service. It expects the program at
// Program.
//
//go:embed gatelodge.service
var Unit string

// Sysusers makes the user that the unit runs as (sysusers.d(5)).
//
//go:embed gatelodge.sysusers
var Sysusers string

// Networkd is a drop-in by which systemd-networkd leaves our rules and routes
// alone (networkd.conf(5)).
//
//go:embed networkd.conf
var Networkd string

const (
	// Program is where packages put the program.
	Program = "/usr/bin/gatelodge"
	// User is the name of the user, and of its group, that the unit runs as.
	User = "gatelodge"
	// Service is the unit's name.
	Service = "gatelodge.service"
)
