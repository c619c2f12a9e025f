package survey

import _ "embed" // for the script

// Script is for sh(1), after a line that sets root_prefix: what stands before
// all paths of gatelodge. With skip_network set, too, it leaves out addresses and
// open ports. It changes nothing, and prints what Parse reads.
//
//go:embed look.sh
var Script string

// KeptScript is for sh(1), too, with the root of gatelodge's files as its $1. It
// looks into folders that only root can read, and prints lines for Facts.Take.
// What install itself writes down is not the owner's.
const KeptScript = `for role in gate home; do
	for file in "$1/var/lib/gatelodge/$role.json" "$1/var/lib/gatelodge/$role.json.last"; do
		if [ -e "$file" ]; then echo "state=$role"; break; fi
	done
done
for folder in /etc/gatelodge /var/lib/gatelodge; do
	if [ -n "$(ls -A "$1$folder" 2>/dev/null | grep -vx installed.json)" ]; then echo "kept=$folder"; fi
done`
