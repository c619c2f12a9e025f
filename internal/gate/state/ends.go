package state

import (
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Ends lists what is published before and no longer after, in the order of the
// homes and their forwards: a forward that is refused or gone, ports that it has
// lost, a family over which nobody comes now.
func Ends(before, after *registry.State) []plan.Ending {
	type name struct{ home, forward string }
	left := map[name]forward.Grant{}
	for _, f := range after.Granted() {
		left[name{f.Home, f.Name}] = f
	}
	var ends []plan.Ending
	for _, f := range before.Granted() {
		is, stays := left[name{f.Home, f.Name}]
		lost := forward.NewPortSet(f.Ports...).Without(forward.NewPortSet(is.Ports...))
		if len(lost) > 0 {
			ends = append(ends, plan.Ending{Forward: f.Name, Home: f.Home, Ports: texts(lost), Reason: reason(after, f)})
		}
		if stays {
			ends = append(ends, endedFamilies(f, is)...)
		}
	}
	return ends
}

// endedFamilies are those of a forward that stays.
func endedFamilies(was, is forward.Grant) []plan.Ending {
	var ends []plan.Ending
	for _, f := range []struct {
		name    string
		was, is bool
	}{{"IPv4", was.Families.IPv4, is.Families.IPv4}, {"IPv6", was.Families.IPv6, is.Families.IPv6}} {
		if f.was && !f.is {
			ends = append(ends, plan.Ending{Forward: was.Name, Home: was.Home, Ports: texts(is.Ports), Over: f.name})
		}
	}
	return ends
}

// reason says why a forward is refused now, without what its home is advised to do.
func reason(s *registry.State, f forward.Grant) string {
	h, _ := s.HomeByName(f.Home)
	for _, v := range h.Verdicts() {
		if v.Name == f.Name {
			why, _, _ := strings.Cut(v.Reason, "; ")
			return why
		}
	}
	return ""
}

func texts(list []forward.Ports) []string {
	text := make([]string, len(list))
	for i, p := range list {
		text[i] = p.String()
	}
	return text
}
