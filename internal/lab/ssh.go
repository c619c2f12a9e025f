package lab

import (
	"os"
	"path/filepath"
	"strings"
)

// sshIntoLab stands in for ssh(1): it carries the command out on the lab's
// gate, as the login of a user whose .bashrc prints. A real one would want
// users and a pseudo-terminal, which namespaces without root do not have; the
// suite of virtual machines has it.
const sshIntoLab = `#!/bin/sh
while [ $# -gt 0 ]; do
	case $1 in
	-O) exit 0 ;;
	-G) echo "hostname 198.51.100.1"; exit 0 ;;
	-S) [ "$2" != none ] || exec bash -c 'read -r banner </dev/tcp/198.51.100.1/2222'; shift 2 ;;
	-o | -p) shift 2 ;;
	--) shift; break ;;
	*) shift ;;
	esac
done
shift
echo "Welcome to the gate!"
SSH_CONNECTION='192.0.2.2 40000 198.51.100.1 2222' exec nsenter --net=/run/netns/GATE sh -c "$*"
`

// LetSSHIn gives a host an ssh that leads to the gate, no matter where it is
// asked to go.
func (l *Lab) LetSSHIn(h *Host) error {
	script := strings.Replace(sshIntoLab, "GATE", l.Gate().Namespace(), 1)
	return os.WriteFile(filepath.Join(h.Bin(), "ssh"), []byte(script), 0o755)
}
