package registry

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// inForce shows what is published of the forwards of a home, by name.
func inForce(t testing.TB, s *State, home string) map[string]string {
	t.Helper()
	if err := s.Check(gate); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, g := range s.Granted() {
		if g.Home == home {
			got[g.Name] = forward.PortSet(g.Ports).String()
		}
	}
	return got
}

// A forward that asks for more than it may have keeps what it has, and no more than
// it still asks for.
func TestWhatWasGrantedStays(t *testing.T) {
	narrow := permitted
	narrow.Denied = ports("8082/tcp")
	narrow.MaxForwards = 2
	for name, c := range map[string]struct {
		wanted []forward.Published
		want   string // what stays of container
		why    string
	}{
		"one more port": {[]forward.Published{wants("container", "8080-8082/tcp")}, "8080-8081/tcp",
			"the gate's policy does not allow 8082/tcp for this home; publish 8080-8081/tcp instead; container stays as it was (8080-8081/tcp)"},
		"another port":      {[]forward.Published{wants("container", "8081-8082/tcp")}, "8081/tcp", "the gate's policy does not allow 8082/tcp for this home; publish 8081/tcp instead; container stays as it was (8081/tcp)"},
		"nothing in common": {[]forward.Published{wants("container", "8082/tcp")}, "", "the gate's policy does not allow 8082/tcp for this home; publish other ports"},
		"fewer":             {[]forward.Published{wants("container", "8080/tcp")}, "8080/tcp", ""},
		"renamed":           {[]forward.Published{wants("box", "8080-8082/tcp")}, "", "the gate's policy does not allow 8082/tcp for this home; publish 8080-8081/tcp instead"},
		"ssh of the gate":   {[]forward.Published{wants("container", "22/tcp 8080-8081/tcp")}, "8080-8081/tcp", "the gate needs 22/tcp (ssh) itself; publish 8080-8081/tcp instead; container stays as it was (8080-8081/tcp)"},
		"a port of another home": {[]forward.Published{wants("container", "7000/tcp 8080-8081/tcp")}, "8080-8081/tcp",
			"7000/tcp belongs to another home of this gate, which published it first; choose another port; container stays as it was (8080-8081/tcp)"},
		"malformed": {[]forward.Published{{Name: "container", Ports: []forward.Ports{{Protocol: forward.TCP, Range: forward.Range{First: 8080}}}, Families: both}}, "",
			"8080-0/tcp is not a range of TCP or UDP ports"},
	} {
		t.Run(name, func(t *testing.T) {
			s := New()
			enrol(t, s, "attic", 1)
			enrol(t, s, "cellar", 2)
			push(t, s, "attic", narrow, wants("container", "8080-8081/tcp"))
			push(t, s, "cellar", permitted, wants("theirs", "7000/tcp"))
			id := s.Granted()[0].ID
			for range 2 { // the second time it stays the same
				got := push(t, s, "attic", narrow, c.wanted...)
				if got[0].Reason != c.why || got[0].Granted != (c.why == "") {
					t.Errorf("verdict %+v", got[0])
				}
				if stays := inForce(t, s, "attic")["container"]; stays != c.want {
					t.Errorf("%q is in force, wanted %q", stays, c.want)
				}
				if s.Reconsider(func(string) Policy { return narrow }) {
					t.Error("a second look changed something")
				}
			}
			if c.want != "" && s.Granted()[0].ID != id {
				t.Errorf("its number is %d, and was %d", s.Granted()[0].ID, id)
			}
		})
	}
}

// What stays is under the rules of now: those of its home, and the policy. It grows
// once it may.
func TestWhatStaysFollowsTheRules(t *testing.T) {
	narrow := permitted
	narrow.Denied = ports("8082/tcp")
	policy := narrow
	policies := func(string) Policy { return policy }
	s := New()
	enrol(t, s, "attic", 1)
	push(t, s, "attic", narrow, wants("container", "8081/tcp"))
	closed := wants("container", "8081-8082/tcp")
	closed.Allow = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	closed.Limit.Connections = 3
	push(t, s, "attic", narrow, closed, wants("other", "9000/tcp"))
	g := s.Granted()[0]
	if g.Name != "container" || !slices.Equal(g.Allow, closed.Allow) || g.Limit != closed.Limit {
		t.Errorf("in force is %+v", g)
	}
	for _, c := range []struct {
		what   string
		change func()
		want   string
	}{
		{"it may have more", func() { policy.Denied = nil }, "8081-8082/tcp"},
		{"and no longer", func() { policy.Denied = ports("8082/tcp") }, ""}, // its gate's owner was asked
		{"it may again", func() { policy.Denied = nil }, "8081-8082/tcp"},
		{"its home asks for more", func() {
			policy.Denied = ports("8083/tcp")
			push(t, s, "attic", policy, wants("container", "8081-8083/tcp"), wants("other", "9000/tcp"))
		}, "8081-8082/tcp"},
		{"room for one, which is taken", func() { policy.MaxForwards = 2 }, "8081-8082/tcp"},
		{"what stayed is denied", func() { policy.Denied = ports("8082-8083/tcp") }, ""},
	} {
		c.change()
		s.Reconsider(policies)
		if got := inForce(t, s, "attic")["container"]; got != c.want {
			t.Errorf("%s: %q is in force, wanted %q", c.what, got, c.want)
		}
	}
}

// Whatever a home pushes after whatever else: in force is only what it asks for now,
// and of a forward that is refused only what was in force before. With nobody else
// and no bound in the way, all of that is.
func TestNothingStaysThatIsNotWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		s.Homes = []Home{{Name: "attic", Address4: gate.Address4().Next(), Address6: netip.MustParseAddr("fd00:99::2")}}
		p := drawPolicy(t)
		p.MaxForwards, p.Families = 10, both
		before := map[string]forward.PortSet{}
		for generation := range uint64(4) {
			wanted := drawWanted(t)
			if _, err := s.Push("attic", generation+1, wanted, p); err != nil {
				t.Fatal(err)
			}
			now := map[string]forward.PortSet{}
			var taken forward.PortSet
			for _, f := range s.Homes[0].Forwards {
				is, published := f.InForce()
				if _, second := now[f.Wanted.Name]; published && second {
					t.Fatalf("two forwards %s are in force", f.Wanted.Name)
				}
				if !published {
					continue
				}
				now[is.Name] = is.Ports
				if extra := forward.PortSet(is.Ports).Without(f.Wanted.Ports); len(extra) > 0 {
					t.Fatalf("%s is in force with %v, which nobody asks for", is.Name, extra)
				}
				if both := intersect(taken, is.Ports); len(both) > 0 {
					t.Fatalf("%v is in force twice", both)
				}
				taken = taken.Union(is.Ports)
				if extra := forward.PortSet(is.Ports).Without(before[is.Name]); !f.Granted && len(extra) > 0 {
					t.Fatalf("%s is refused, and in force with %v, which is new", is.Name, extra)
				}
			}
			for i, f := range s.Homes[0].Forwards {
				first := slices.IndexFunc(wanted, func(w forward.Published) bool { return w.Name == f.Wanted.Name }) == i
				stays := intersect(before[f.Wanted.Name], f.Wanted.Ports)
				if _, published := f.InForce(); first && !published && len(stays) > 0 && malformed(f.Wanted) == "" && len(intersect(stays, taken)) == 0 {
					t.Fatalf("%s was in force with %v, and nothing of that is: %s", f.Wanted.Name, stays, f.Reason)
				}
			}
			before = now
		}
	})
}
