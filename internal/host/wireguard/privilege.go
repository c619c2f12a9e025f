package wireguard

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// MayManage returns ErrPrivilege if this process may not make interfaces, which
// it finds out without making one (capabilities(7)).
func MayManage() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // of 32 capabilities each
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("cannot find out what this process may do: %w", err)
	}
	if sets[unix.CAP_NET_ADMIN/32].Effective&(1<<(unix.CAP_NET_ADMIN%32)) == 0 {
		return ErrPrivilege
	}
	return nil
}
