package plan

import (
	"fmt"
	"strings"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
)

// Choice is one thing that an owner decides: a forward, a port that is accepted,
// a setting of the tunnel. Two lists of choices are compared in the owner's own
// terms, whatever steps of the machine follow from them.
type Choice struct {
	Subject string // the same for as long as it is the same thing: "forward web"
	Of      string // the home whose it is, on a gate: names are a home's own
	// Summary describes the whole of it, for one that is new or gone.
	Summary    string
	Properties []Property
}

// Property is a part of a choice that can be another one, such as a limit.
type Property struct{ Name, Value string }

func (c Choice) key() string { return c.Subject + " of " + c.Of }

// ForwardChoice describes a forward that leads from public ports to a target.
func ForwardChoice(p forward.Published, ports []string, target string) Choice {
	c := Choice{Subject: "forward " + p.Name, Summary: strings.Join(ports, " ") + " → " + target, Properties: []Property{
		{"ports", strings.Join(ports, " ")}, {"target", target},
	}}
	source := forward.Preserve
	if p.Masquerade {
		source = forward.Masquerade
	}
	var allow []string
	for _, a := range p.Allow {
		allow = append(allow, a.String())
	}
	for _, more := range []struct {
		Property
		usual string
	}{
		{Property{"families", p.Families.String()}, forward.Families{IPv4: true, IPv6: true}.String()},
		{Property{"source", source.String()}, forward.Preserve.String()},
		{Property{"allow", strings.Join(allow, " ")}, ""},
		{Property{"limit", p.Limit.String()}, ""},
	} {
		c.Properties = append(c.Properties, more.Property)
		if more.Value != more.usual {
			c.Summary += ", " + more.Name + " " + more.Value
		}
	}
	return c
}

// InputChoices describes an input policy.
func InputChoices(p InputPolicy) []Choice {
	policy := "leave"
	if p.Protect {
		policy = "protect"
	}
	list := []Choice{{Subject: "input", Summary: policy, Properties: []Property{{"policy", policy}}}}
	for _, ports := range p.Accept {
		list = append(list, Choice{Subject: "accept " + ports.String()})
	}
	for _, protocol := range p.Protocols {
		list = append(list, Choice{Subject: "accept IP " + protocol.String()})
	}
	return list
}

// TunnelChoice describes what else gate.toml says of the gate itself.
func TunnelChoice(c config.Gate) Choice {
	var public []string
	for _, a := range c.Public.Addresses {
		public = append(public, a.String())
	}
	return Choice{Subject: "tunnel " + c.Tunnel.Interface, Properties: []Property{
		{"listen port", fmt.Sprint(c.Tunnel.ListenPort)},
		{"prefix4", c.Tunnel.Prefix4.String()},
		{"prefix6", c.Tunnel.Prefix6.String()},
		{"MTU", fmt.Sprint(c.Tunnel.MTU)},
		{"public addresses", strings.Join(public, " ")},
		{"public endpoints", strings.Join(c.Public.Endpoints, " ")},
	}}
}

// HomeChoices describes what home.toml says.
func HomeChoices(c config.Home) []Choice {
	private := "drop"
	if !c.Firewall.DropPrivate {
		private = "accept"
	}
	list := []Choice{{Subject: "tunnel " + c.Tunnel.Interface, Properties: []Property{
		{"device", string(c.Tunnel.Device)},
		{"MTU", fmt.Sprint(c.Tunnel.MTU)},
		{"table", fmt.Sprint(c.Tunnel.Table)},
		{"rule priority", fmt.Sprint(c.Tunnel.RulePriority)},
		{"private sources", private},
	}}}
	if at := strings.Join(c.Gate.Endpoints, " "); at != "" {
		list = append(list, Choice{Subject: "endpoints of the gate", Summary: at, Properties: []Property{{"", at}}})
	}
	for _, f := range c.Forwards {
		var ports []string
		for _, m := range f.Mappings {
			ports = append(ports, m.String())
		}
		target := "this host"
		if f.To.IsValid() {
			target = f.To.String()
		}
		list = append(list, ForwardChoice(f.Published(), ports, target))
	}
	return list
}

// Compare returns what lies between two lists of choices: what is new, what is
// another one, property by property, and what is gone.
func Compare(before, after []Choice) []Change {
	was := make(map[string]Choice, len(before))
	for _, c := range before {
		was[c.key()] = c
	}
	is := make(map[string]bool, len(after))
	var changes []Change
	for _, c := range after {
		is[c.key()] = true
		old, there := was[c.key()]
		if !there {
			changes = append(changes, Change{Kind: Added, Subject: c.Subject, After: c.Summary})
			continue
		}
		changes = append(changes, compareProperties(old, c)...)
	}
	for _, c := range before {
		if !is[c.key()] {
			changes = append(changes, Change{Kind: Removed, Subject: c.Subject, Before: c.Summary})
		}
	}
	return changes
}

// compareProperties relies on the order, which is the same for each kind of choice.
func compareProperties(before, after Choice) []Change {
	var changes []Change
	for i, p := range after.Properties {
		if i < len(before.Properties) && before.Properties[i].Value != p.Value {
			changes = append(changes, Change{Kind: Altered, Subject: after.Subject, Property: p.Name, Before: before.Properties[i].Value, After: p.Value})
		}
	}
	return changes
}
