package routing

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// connectionTable looks at the size of conntrack's table. It is one for all
// network namespaces, and only the first may change it.
func (r *Routing) connectionTable() (plan.ConnectionTable, error) {
	const name = "net.netfilter.nf_conntrack_max"
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return plan.ConnectionTable{}, os.NewSyscallError("sysinfo", err)
	}
	t := plan.ConnectionTable{Memory: uint64(info.Totalram) * uint64(info.Unit)}
	value, err := r.ReadSysctl(name)
	if errors.Is(err, ErrNoSysctl) {
		return t, nil // conntrack comes with the first rule that needs it
	}
	if err != nil {
		return t, err
	}
	if t.Max, err = strconv.Atoi(value); err != nil {
		return t, fmt.Errorf("sysctl %s is %q, which is no number", name, value)
	}
	changeable, err := changeable(name)
	if err != nil {
		return t, err
	}
	t.Fixed = !changeable
	t.HalfOpen, err = r.halfOpenTimes()
	return t, err
}

// halfOpenTimes reads those of the settings that are there and can be changed.
func (r *Routing) halfOpenTimes() ([]plan.Sysctl, error) {
	var times []plan.Sysctl
	for _, name := range plan.HalfOpenTimes {
		value, err := r.ReadSysctl(name)
		if errors.Is(err, ErrNoSysctl) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ours, err := changeable(name)
		if err != nil {
			return nil, err
		}
		if ours {
			times = append(times, plan.Sysctl{Name: name, Value: value})
		}
	}
	return times, nil
}

// localPorts looks at the ports of this machine's own connections. It is nothing
// where the kernel does not say.
func (r *Routing) localPorts() (plan.LocalPorts, error) {
	const name = "net.ipv4.ip_local_port_range"
	value, err := r.ReadSysctl(name)
	if err != nil {
		return plan.LocalPorts{}, ignoreMissing(err)
	}
	ends := strings.Fields(value)
	if len(ends) != 2 {
		return plan.LocalPorts{}, fmt.Errorf("sysctl %s is %q, which is no range", name, value)
	}
	ports, err := forward.ParseRange(ends[0] + "-" + ends[1])
	if err != nil {
		return plan.LocalPorts{}, fmt.Errorf("sysctl %s is %q: %w", name, value, err)
	}
	reserved, err := r.ReadSysctl(plan.LocalReserved)
	if err != nil {
		return plan.LocalPorts{}, ignoreMissing(err)
	}
	return plan.LocalPorts{Range: ports, Reserved: reserved}, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, ErrNoSysctl) {
		return nil
	}
	return err
}
