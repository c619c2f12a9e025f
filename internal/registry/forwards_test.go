package registry

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
)

func TestReservedPortsNamed(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	got := push(t, s, "attic", permitted, wants("all", "1-65535"))
	want := "the gate needs 22/tcp (ssh), 51820/udp (WireGuard), 51821/tcp, 51821/udp (the control channel) itself; " +
		"publish 1-21/tcp, 23-51820/tcp, 51822-65535/tcp, 1-51819/udp, 51822-65535/udp instead"
	if got[0].Granted || got[0].Reason != want {
		t.Errorf("verdict %+v,\nwant reason %q", got[0], want)
	}
}

func TestRefusals(t *testing.T) {
	narrow := permitted
	narrow.Allowed = ports("80/tcp 443 8000-8099/tcp")
	narrow.Denied = ports("8080/tcp")
	narrow.MaxForwards = 3
	v6only := wants("six", "443/tcp")
	v6only.Families = forward.Families{IPv6: true}
	no6 := narrow
	no6.Families = forward.Families{IPv4: true}
	backwards := wants("web", "80/tcp")
	backwards.Ports = []forward.Ports{{Protocol: forward.TCP, Range: forward.Range{First: 1, Last: 4}}, {Protocol: forward.TCP, Range: forward.Range{First: 5, Last: 3}}}
	unmasked := wants("web", "80/tcp")
	unmasked.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}
	for name, test := range map[string]struct {
		policy Policy
		wanted []forward.Published
		want   []string // a part of each reason; "" for granted
	}{
		"zero policy":     {Policy{}, []forward.Published{wants("web", "80/tcp")}, []string{"does not carry"}},
		"allowed":         {narrow, []forward.Published{wants("web", "80/tcp 443")}, []string{""}},
		"outside allowed": {narrow, []forward.Published{wants("web", "79-80/tcp")}, []string{"does not allow 79/tcp for this home; publish 80/tcp instead"}},
		"denied inside":   {narrow, []forward.Published{wants("web", "8079-8081/tcp")}, []string{"does not allow 8080/tcp for this home; publish 8079/tcp, 8081/tcp instead"}},
		"nothing left":    {narrow, []forward.Published{wants("game", "25565/udp")}, []string{"publish other ports"}},
		"duplicate port":  {narrow, []forward.Published{wants("a", "80/tcp"), wants("b", "80/tcp")}, []string{"", `80/tcp is already published by this home's forward "a"`}},
		"duplicate name":  {narrow, []forward.Published{wants("a", "80/tcp"), wants("a", "443/tcp")}, []string{"", "two forwards named"}},
		"one too many": {narrow, []forward.Published{wants("a", "80/tcp"), wants("b", "443/tcp"), wants("c", "8000/tcp"), wants("d", "8001/tcp")},
			[]string{"", "", "", "lets this home have 3 forwards"}},
		"no IPv6":       {no6, []forward.Published{v6only}, []string{"the forward is for IPv6, which this gate does not carry"}},
		"backwards":     {narrow, []forward.Published{backwards}, []string{"not a range"}},
		"unmasked":      {narrow, []forward.Published{unmasked}, []string{"not a network prefix"}},
		"bad name":      {narrow, []forward.Published{wants("$(reboot)", "80/tcp")}, []string{"not allowed"}},
		"no ports":      {narrow, []forward.Published{wants("web", "")}, []string{"has 1 to"}},
		"ssh whatever":  {narrow, []forward.Published{wants("shell", "22/tcp")}, []string{"22/tcp (ssh)"}},
		"udp 22 is not": {permitted, []forward.Published{wants("odd", "22/udp")}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := New()
			enrol(t, s, "attic", 1)
			got := push(t, s, "attic", test.policy, test.wanted...)
			for i, want := range test.want {
				if got[i].Granted != (want == "") || !strings.Contains(got[i].Reason, want) {
					t.Errorf("verdict %d is %+v, want reason %q", i, got[i], want)
				}
			}
		})
	}
}

func TestFirstKeepsThePort(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	enrol(t, s, "cellar", 2)
	push(t, s, "cellar", permitted, wants("web", "443"))
	got := push(t, s, "attic", permitted, wants("mine", "400-500/tcp"), wants("other", "501/tcp"))
	if got[0].Granted || !strings.Contains(got[0].Reason, "443/tcp belongs to another home of this gate, which published it first") {
		t.Errorf("verdict %+v", got[0])
	}
	if !got[1].Granted {
		t.Errorf("a refusal spread to %+v", got[1])
	}
	// A freed port goes to the one who waits, and only when asked to.
	push(t, s, "cellar", permitted, wants("web", "80/tcp"))
	if !s.Reconsider(func(string) Policy { return permitted }) {
		t.Error("nothing changed")
	}
	if h, _ := s.HomeByName("attic"); !h.Forwards[0].Granted {
		t.Errorf("still refused: %s", h.Forwards[0].Reason)
	}
	if s.Reconsider(func(string) Policy { return permitted }) {
		t.Error("a second look changed something")
	}
}

func TestReconsiderWithdraws(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	push(t, s, "attic", permitted, wants("web", "443"), wants("shell", "2222/tcp"))
	moved := permitted
	moved.Reserved = append(slices.Clone(moved.Reserved), Reserved{ports("2222/tcp"), "ssh"})
	s.Reconsider(func(string) Policy { return moved })
	if got := s.Granted(); len(got) != 1 || got[0].Published.Name != "web" {
		t.Errorf("granted %+v, want web alone", got)
	}
	moved.MaxForwards = 0
	s.Reconsider(func(string) Policy { return moved })
	if got := s.Granted(); len(got) != 0 {
		t.Errorf("granted %+v, want nothing", got)
	}
	s.Reconsider(func(string) Policy { return permitted })
	if got := s.Granted(); len(got) != 2 || got[0].ID != 1 || got[1].ID != 2 {
		t.Errorf("granted %+v, want both with their IDs", got)
	}
}

func TestIDs(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	ids := func() []uint32 {
		var all []uint32
		for _, g := range s.Granted() {
			all = append(all, g.ID)
		}
		return all
	}
	for i, step := range []struct {
		wanted []forward.Published
		want   []uint32
	}{
		{[]forward.Published{wants("a", "1000/tcp"), wants("b", "1001/tcp")}, []uint32{1, 2}},
		{[]forward.Published{wants("b", "1002/tcp"), wants("a", "1003/tcp")}, []uint32{2, 1}},
		{[]forward.Published{wants("b", "1002/tcp")}, []uint32{2}},
		{[]forward.Published{wants("b", "1002/tcp"), wants("a", "1003/tcp")}, []uint32{2, 3}},
	} {
		push(t, s, "attic", permitted, step.wanted...)
		if got := ids(); !slices.Equal(got, step.want) {
			t.Errorf("step %d: IDs %v, want %v", i, got, step.want)
		}
	}
	s.NextForwardID = forward.MaxID
	push(t, s, "attic", permitted, wants("b", "1002/tcp"), wants("x", "1/tcp"), wants("y", "2/tcp"), wants("z", "3/tcp"))
	if got, want := ids(), []uint32{2, forward.MaxID, 1, 3}; !slices.Equal(got, want) {
		t.Errorf("around the end: IDs %v, want %v", got, want)
	}
}

func TestPushRefused(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	push(t, s, "attic", permitted, wants("web", "443"))
	before := s.Clone()
	_, err := s.Push("attic", 0, nil, permitted)
	wantCode(t, err, Stale)
	_, err = s.Push("shed", 9, nil, permitted)
	wantCode(t, err, UnknownHome)
	_, err = s.Push("attic", 9, make([]forward.Published, forward.MaxForwards+1), permitted)
	wantCode(t, err, TooMany)
	sameState(t, before, s)
}

func TestGrantedFamilies(t *testing.T) {
	s := New()
	h := enrol(t, s, "attic", 1)
	p := permitted
	p.Families = forward.Families{IPv4: true}
	got := push(t, s, "attic", p, wants("web", "443"))
	if len(got[0].Notes) != 1 || !strings.Contains(got[0].Notes[0], "IPv6") {
		t.Errorf("notes %q, want one on IPv6", got[0].Notes)
	}
	g := s.Granted()[0]
	if g.Target4 != h.Address4 || g.Target6.IsValid() || g.Published.Families != p.Families {
		t.Errorf("granted %+v, want IPv4 alone", g)
	}
	if s.Homes[0].Wanted()[0].Families != both {
		t.Error("what the home asked for was changed")
	}
}

// A greedy home gets its answer, and a short one.
func TestGreedyHome(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	var all []forward.Published
	for i := range forward.MaxForwards {
		p := wants(fmt.Sprint("f", i), "")
		for k := range forward.MaxPorts {
			first := uint16(1 + k*1000)
			p.Ports = append(p.Ports, forward.Ports{Protocol: forward.TCP, Range: forward.Range{First: first, Last: first + uint16(i%900)}})
		}
		all = append(all, p)
	}
	for _, v := range push(t, s, "attic", permitted, all...) {
		if len(v.Reason) > 500 {
			t.Fatalf("a reason of %d characters: %s", len(v.Reason), v.Reason)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	s := stored()
	c := s.Clone()
	f := &c.Homes[0].Forwards[0]
	f.Wanted.Ports[0].Range.First = 9
	f.Wanted.Allow[0] = netip.Prefix{}
	f.Notes[0] = "other"
	c.Homes[0].Forwards[1].Reason = "other"
	c.Homes[0].Name = "other"
	c.Invites[0].Name = "other"
	sameState(t, stored(), s)
}
