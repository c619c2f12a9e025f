package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// maxEndpoints is as many as an invite holds.
const maxEndpoints = 4

// maxForwards bounds what a policy may allow a home, and how many a file has.
const maxForwards = 4096

const noEndpoints = "name at least one, or leave the key out"

// ParseGate reads gate.toml. The name is that of the file, for errors, which
// are of type Errors.
func ParseGate(name string, data []byte) (Gate, error) {
	r := newReport(source{name, data})
	root := readDocument(r)
	if root == nil || !checkVersion(r, root) {
		return Gate{}, r.err()
	}
	d := gateDecoder{decoder: newDecoder(r), gate: defaultGate()}
	d.decode(root)
	confirm(r)
	if err := r.err(); err != nil {
		return Gate{}, err
	}
	return d.gate, nil
}

func defaultGate() Gate {
	return Gate{
		Tunnel: GateTunnel{
			Interface:   DefaultInterface,
			ListenPort:  DefaultListenPort,
			ControlPort: DefaultControlPort,
			Prefix4:     DefaultPrefix4(),
			Device:      Auto,
		},
		Firewall: GateFirewall{Protect: true, SSHPorts: []uint16{DefaultSSHPort}},
		Policy:   Policy{Ports: AllPorts(), MaxForwards: DefaultMaxForwards},
		Marks:    DefaultMarks(),
	}
}

// gateDecoder reads one gate.toml. Lists keep their places until all of the
// file is read and can be judged together.
type gateDecoder struct {
	*decoder
	gate      Gate
	endpoints []placed[string]
	addresses []placed[netip.Addr]
	sshPorts  []placed[uint16]
	accept    []placed[forward.PortSet]
	protocols []placed[forward.Protocol]
	policies  []*gatePolicy // that of [policy] first
}

// gatePolicy is a policy as the file has it: nil lists are not in the file.
type gatePolicy struct {
	where string
	home  string
	ports []placed[forward.PortSet]
	deny  []placed[forward.PortSet]
	most  int
}

func (d *gateDecoder) decode(root *table) {
	policy := &gatePolicy{where: "[policy]"}
	d.policies = []*gatePolicy{policy}
	d.fields(root, d.src.name,
		versionField(),
		d.tableField("tunnel", d.tunnel),
		d.tableField("public", d.public),
		d.tableField("firewall", d.firewall),
		d.tableField("policy", func(t *table) { d.policy(t, policy) }),
		d.namedTables("home", func(e entry) {
			home := &gatePolicy{where: "[home." + e.name + "]", home: e.name}
			d.policies = append(d.policies, home)
			d.policy(e.value.table, home)
		}),
		d.marksField(&d.gate.Marks),
	)
	d.finish()
	d.check()
}

func (d *gateDecoder) tunnel(t *table) {
	g := &d.gate.Tunnel
	d.fields(t, "[tunnel]",
		parsed(d.decoder, "interface", &g.Interface, parseInterface),
		number(d.decoder, "listen_port", &g.ListenPort, 1, 65535),
		number(d.decoder, "control_port", &g.ControlPort, 1, 65535),
		parsed(d.decoder, "prefix4", &g.Prefix4, parsePrefix4),
		parsed(d.decoder, "prefix6", &g.Prefix6, parsePrefix6),
		parsed(d.decoder, "device", &g.Device, parseDevice),
		mtuField(d.decoder, &g.MTU),
	)
}

func (d *gateDecoder) public(t *table) {
	asWritten := func(s string) (string, error) { return s, nil }
	d.fields(t, "[public]",
		nonEmpty(d.decoder, listed(d.decoder, "endpoints", &d.endpoints, asWritten), noEndpoints),
		listed(d.decoder, "addresses", &d.addresses, parseAddr),
	)
}

func (d *gateDecoder) firewall(t *table) {
	g := &d.gate.Firewall
	d.fields(t, "[firewall]",
		parsed(d.decoder, "input", &g.Protect, oneOfTwo("protect", "leave")),
		d.portNumbers("ssh_ports", &d.sshPorts),
		portList(d.decoder, listed(d.decoder, "accept", &d.accept, parsePorts)),
		listed(d.decoder, "accept_protocols", &d.protocols, parseProtocol),
	)
}

func (d *gateDecoder) policy(t *table, p *gatePolicy) {
	d.fields(t, p.where,
		portList(d.decoder, listed(d.decoder, "ports", &p.ports, parsePorts)),
		portList(d.decoder, listed(d.decoder, "deny", &p.deny, parsePorts)),
		number(d.decoder, "max_forwards", &p.most, 1, maxForwards),
	)
}

// finish moves what was read into the Gate.
func (d *gateDecoder) finish() {
	d.gate.Public.Endpoints = d.finishEndpoints(d.endpoints, &d.endpoints, d.gate.Tunnel.ListenPort)
	d.gate.Public.Addresses = values(d.addresses)
	if d.sshPorts != nil {
		d.gate.Firewall.SSHPorts = values(d.sshPorts)
	}
	d.gate.Firewall.Accept = union(d.accept)
	d.gate.Firewall.AcceptProtocols = slices.Sorted(slices.Values(values(d.protocols)))
	d.gate.Policy = d.policies[0].over(d.gate.Policy)
	for _, p := range d.policies[1:] {
		d.gate.Homes = append(d.gate.Homes, HomePolicy{p.home, p.over(d.gate.Policy)})
	}
}

// over returns the policy with its keys laid over those of another.
func (p *gatePolicy) over(below Policy) Policy {
	if p.ports != nil {
		below.Ports = union(p.ports)
	}
	if p.deny != nil {
		below.Deny = union(p.deny)
	}
	if p.most != 0 {
		below.MaxForwards = p.most
	}
	return below
}

func union(list []placed[forward.PortSet]) forward.PortSet {
	var all []forward.Ports
	for _, p := range list {
		all = append(all, p.value...)
	}
	return forward.NewPortSet(all...)
}

// finishEndpoints completes endpoints with the default port. The field is the
// one that listed filled.
func (d *decoder) finishEndpoints(list []placed[string], field any, port uint16) []string {
	if len(list) > maxEndpoints {
		d.addf(d.place(field), "there are %d endpoints; at most %d go into an invite", len(list), maxEndpoints)
		return nil
	}
	var all []placed[string]
	for _, p := range list {
		endpoint, err := completeEndpoint(p.value, port)
		if err != nil {
			d.add(p.at, err)
			continue
		}
		all = append(all, placed[string]{endpoint, p.at})
	}
	unique(d, "endpoints", all)
	return values(all)
}

// portNumbers is a key with a list of bare ports.
func (d *decoder) portNumbers(name string, to *[]placed[uint16]) field {
	return field{name, func(v value) {
		d.places[to] = v.at
		if v.kind != unstable.Array {
			d.wrongKind(name, "a list of whole numbers", v)
			return
		}
		*to = make([]placed[uint16], 0, len(v.list))
		for _, item := range v.list {
			if n, ok := d.integer("each of "+name, item, 1, 65535); ok {
				*to = append(*to, placed[uint16]{uint16(n), item.at})
			}
		}
	}}
}

// checkVersion looks at the version before anything else: a file for another
// version may well have other keys.
func checkVersion(r *report, root *table) bool {
	e, ok := root.lookup("version")
	if !ok {
		r.add(0, problem{"the version is missing", fmt.Sprintf("write version = %d at the top", Version)})
		return true
	}
	n, ok := newDecoder(r).integer("version", e.value, 1, 1<<31-1)
	if ok && n > Version {
		r.add(e.value.at, problem{fmt.Sprintf("this file is for a newer gatelodge: it has version %d, this program reads %d", n, Version), "install the newer gatelodge"})
		return false
	}
	return true
}

// versionField is the version, judged already.
func versionField() field { return field{"version", func(value) {}} }
