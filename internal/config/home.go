package config

import (
	"fmt"
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// ParseHome reads home.toml. The name is that of the file, for errors, which
// are of type Errors.
func ParseHome(name string, data []byte) (Home, error) {
	r := newReport(source{name, data})
	root := readDocument(r)
	if root == nil || !checkVersion(r, root) {
		return Home{}, r.err()
	}
	d := homeDecoder{decoder: newDecoder(r), home: defaultHome()}
	d.decode(root)
	confirm(r)
	if err := r.err(); err != nil {
		return Home{}, err
	}
	return d.home, nil
}

func defaultHome() Home {
	return Home{
		Tunnel: HomeTunnel{
			Interface:    DefaultInterface,
			Device:       Auto,
			Table:        DefaultTable,
			RulePriority: DefaultPriority,
		},
		Firewall: HomeFirewall{DropPrivate: true},
		Marks:    DefaultMarks(),
	}
}

// homeDecoder reads one home.toml.
type homeDecoder struct {
	*decoder
	home      Home
	endpoints []placed[string]
	forwards  []*draft
}

// draft is a forward whose parts still have their places.
type draft struct {
	name     string
	at       int
	mappings []placed[[]forward.Mapping]
	to       netip.Addr
	source   forward.Source
	allow    []placed[netip.Prefix]
	limit    forward.Limit
}

func (d *homeDecoder) decode(root *table) {
	d.fields(root, d.src.name,
		versionField(),
		d.tableField("tunnel", d.tunnel),
		d.tableField("gate", func(t *table) {
			asWritten := func(s string) (string, error) { return s, nil }
			d.fields(t, "[gate]", nonEmpty(d.decoder, listed(d.decoder, "endpoints", &d.endpoints, asWritten), noEndpoints))
		}),
		d.tableField("firewall", func(t *table) {
			d.fields(t, "[firewall]",
				parsed(d.decoder, "private_sources", &d.home.Firewall.DropPrivate, oneOfTwo("drop", "accept")))
		}),
		d.forwardsField(),
		d.marksField(&d.home.Marks),
	)
	d.home.Gate.Endpoints = d.finishEndpoints(d.endpoints, &d.endpoints, DefaultListenPort)
	d.check()
	for _, f := range d.forwards {
		d.home.Forwards = append(d.home.Forwards, f.finish())
	}
}

// The bounds of what a home may choose in the kernel's routing.
const (
	maxTable    = 1<<31 - 1
	maxPriority = 32000 // rules of ours follow it, and 32766 is that of the main table
)

func (d *homeDecoder) tunnel(t *table) {
	h := &d.home.Tunnel
	d.fields(t, "[tunnel]",
		parsed(d.decoder, "interface", &h.Interface, parseInterface),
		parsed(d.decoder, "device", &h.Device, parseDevice),
		mtuField(d.decoder, &h.MTU),
		number(d.decoder, "table", &h.Table, 1, maxTable),
		number(d.decoder, "rule_priority", &h.RulePriority, 1, maxPriority),
	)
	if h.Table >= 253 && h.Table <= 255 {
		d.add(d.place(&h.Table), problem{"the routing tables 253, 254 and 255 are the kernel's own", "take another number, such as 6700"})
	}
}

// The bounds of an MTU that an owner sets: what IPv6 demands, and more than
// what any network between two sites carries.
const (
	minMTU = 1280
	maxMTU = 9000
)

func mtuField(d *decoder, to *int) field {
	f := number(d, "mtu", to, 0, maxMTU)
	return field{f.name, func(v value) {
		f.read(v)
		if *to != 0 && *to < minMTU {
			d.add(v.at, problem{"mtu must be a whole number from 1280 to 9000, or 0 to derive it", "IPv6 needs 1280"})
		}
	}}
}

func (d *homeDecoder) forwardsField() field {
	f := d.namedTables("forward", d.forward)
	return field{f.name, func(v value) {
		d.places[&d.forwards] = v.at
		f.read(v)
	}}
}

func (d *homeDecoder) forward(e entry) {
	f := &draft{name: e.name, at: e.at}
	d.forwards = append(d.forwards, f)
	where := "[forward." + e.name + "]"
	d.fields(e.value.table, where,
		portList(d.decoder, nonEmpty(d.decoder, listed(d.decoder, "ports", &f.mappings, parseMapping), `name at least one, such as ["443"]`)),
		parsed(d.decoder, "to", &f.to, parseTarget),
		parsed(d.decoder, "source", &f.source, parseSource),
		nonEmpty(d.decoder, listed(d.decoder, "allow", &f.allow, parseAllow), "leave it out to let everyone in"),
		d.tableField("limit", func(t *table) { d.limit(t, where, &f.limit) }),
	)
	if _, ok := e.value.table.lookup("ports"); !ok {
		d.add(f.at, problem{fmt.Sprintf("forward %q has no ports", e.name), `add a line such as ports = ["443"]`})
	}
}

func parseSource(s string) (forward.Source, error) {
	source, err := forward.ParseSource(s)
	if err != nil {
		return 0, problem{err.Error(), suggest(s, []string{"auto", "preserve", "masquerade"})}
	}
	return source, nil
}

func (d *homeDecoder) limit(t *table, where string, to *forward.Limit) {
	d.fields(t, "limit of "+where,
		parsed(d.decoder, "new_connections", &to.NewConnections, forward.ParseRate),
		number(d.decoder, "connections", &to.Connections, 1, forward.MaxConnections),
	)
}

// finish returns the forward without places.
func (f *draft) finish() forward.Forward {
	done := forward.Forward{
		Name:   f.name,
		To:     f.to,
		Source: f.source,
		Allow:  values(f.allow),
		Limit:  f.limit,
	}
	for _, m := range f.mappings {
		done.Mappings = append(done.Mappings, m.value...)
	}
	return done
}
