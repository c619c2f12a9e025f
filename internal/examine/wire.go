package examine

import (
	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/doctor"
)

// The wire has types of its own for what a gate sees, so that it does not change
// because the judge did. Here they meet.

// each converts a list. It keeps nil, which a message leaves out.
func each[A, B any](list []A, convert func(A) B) []B {
	var all []B
	for _, a := range list {
		all = append(all, convert(a))
	}
	return all
}

// ToWire is what a home may know of what its gate has found on itself. A field
// that is not named here stays on the gate.
func ToWire(s doctor.Side) control.Look {
	return control.Look{
		Role: s.Role, Version: s.Version, Daemon: s.Daemon, Clock: s.Clock,
		Machine: lookOfMachine(s.Machine), Public: s.Public,
		Unserved:        each(s.Unserved, func(u doctor.Unserved) control.LookUnserved { return control.LookUnserved(u) }),
		SSHOnlyInTunnel: s.SSHOnlyInTunnel,
		Homes:           each(s.Homes, func(p doctor.Peer) control.LookHome { return control.LookHome(p) }),
		Forwards:        each(s.Forwards, lookOfForward),
		Drops:           each(s.Drops, lookOfDrop),
		Unseen:          s.Unseen,
	}
}

// FromWire is what a gate has told.
func FromWire(l control.Look) doctor.Side {
	return doctor.Side{
		Role: l.Role, Version: l.Version, Daemon: l.Daemon, Clock: l.Clock,
		Machine: machineOf(l.Machine), Public: l.Public,
		Unserved:        each(l.Unserved, func(u control.LookUnserved) doctor.Unserved { return doctor.Unserved(u) }),
		SSHOnlyInTunnel: l.SSHOnlyInTunnel,
		Homes:           each(l.Homes, func(p control.LookHome) doctor.Peer { return doctor.Peer(p) }),
		Forwards:        each(l.Forwards, forwardOf),
		Drops:           each(l.Drops, dropOf),
		Unseen:          l.Unseen,
	}
}

func lookOfMachine(m doctor.Machine) control.LookMachine {
	return control.LookMachine{
		NFT: m.NFT, NFTTooOld: m.NFTTooOld, NFTNeeded: m.NFTNeeded,
		Device: m.Device, Automatic: m.Automatic, KernelHas: m.KernelHas,
		Disks:        each(m.Disks, func(d doctor.Disk) control.LookDisk { return control.LookDisk(d) }),
		Forwarding:   control.LookToggle(m.Forwarding),
		ReversePath:  m.ReversePath,
		Conntrack:    control.LookConntrack(m.Conntrack),
		Drift:        each(m.Drift, func(d doctor.Drift) string { return d.Text }),
		DriftSysctls: each(m.Drift, func(d doctor.Drift) string { return d.Sysctl }),
		Problems:     m.Problems, Failed: m.Failed,
		Lacks: m.Lacks, Sealed: m.Sealed, StateUnseen: m.StateUnseen,
		NotPassing: m.NotPassing, Legacy: m.Legacy, NoWay4: m.NoWay4,
		Overlap: (*control.LookOverlap)(m.Overlap), IPv6: m.IPv6,
	}
}

func machineOf(m control.LookMachine) doctor.Machine {
	return doctor.Machine{
		NFT: m.NFT, NFTTooOld: m.NFTTooOld, NFTNeeded: m.NFTNeeded,
		Device: m.Device, Automatic: m.Automatic, KernelHas: m.KernelHas,
		Disks:       each(m.Disks, func(d control.LookDisk) doctor.Disk { return doctor.Disk(d) }),
		Forwarding:  doctor.Toggle(m.Forwarding),
		ReversePath: m.ReversePath,
		Conntrack:   doctor.Conntrack(m.Conntrack),
		Drift:       driftOf(m), Problems: m.Problems, Failed: m.Failed,
		Lacks: m.Lacks, Sealed: m.Sealed, StateUnseen: m.StateUnseen,
		NotPassing: m.NotPassing, Legacy: m.Legacy, NoWay4: m.NoWay4,
		Overlap: (*doctor.Overlap)(m.Overlap), IPv6: m.IPv6,
	}
}

func lookOfForward(f doctor.Forward) control.LookForward {
	return control.LookForward{
		Name: f.Name, Home: f.Home, Protocol: f.Protocol, Port: f.Port,
		Granted: f.Granted, Reason: f.Reason,
		Inside: string(f.Inside), Inside6: string(f.Inside6),
		Holder: f.Holder, After: f.After,
		Traced: f.Traced, Arrived: f.Arrived, Unwanted: f.Unwanted,
	}
}

func forwardOf(f control.LookForward) doctor.Forward {
	return doctor.Forward{
		Name: f.Name, Home: f.Home, Protocol: f.Protocol, Port: f.Port,
		Granted: f.Granted, Reason: f.Reason,
		Inside: doctor.Result(f.Inside), Inside6: doctor.Result(f.Inside6),
		Holder: f.Holder, After: f.After,
		Traced: f.Traced, Arrived: f.Arrived, Unwanted: f.Unwanted,
	}
}

func lookOfDrop(d doctor.Drop) control.LookDrop {
	return control.LookDrop{
		Deed: string(d.Deed), Hook: string(d.Hook), Owner: d.Owner,
		Table: d.Table, Chain: d.Chain, Rule: d.Rule, Remedy: d.Remedy,
		Legacy: d.Legacy, Protocol: d.Protocol, Port: d.Port,
	}
}

func dropOf(d control.LookDrop) doctor.Drop {
	return doctor.Drop{
		Deed: doctor.Deed(d.Deed), Hook: doctor.Hook(d.Hook), Owner: d.Owner,
		Table: d.Table, Chain: d.Chain, Rule: d.Rule, Remedy: d.Remedy,
		Legacy: d.Legacy, Protocol: d.Protocol, Port: d.Port,
	}
}

// driftOf puts together what is told apart on the wire. A gate of an older version
// names no settings.
func driftOf(m control.LookMachine) []doctor.Drift {
	var list []doctor.Drift
	for i, text := range m.Drift {
		d := doctor.Drift{Text: text}
		if i < len(m.DriftSysctls) {
			d.Sysctl = m.DriftSysctls[i]
		}
		list = append(list, d)
	}
	return list
}
