package registry

import (
	"net/netip"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// Every way in which a stored state can break a promise is noticed.
func TestCheckRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(*State)
		want   Code
	}{
		"newer version":     {func(s *State) { s.Version++ }, NewerState},
		"bad name":          {func(s *State) { s.Homes[0].Name = "a\nb" }, BadState},
		"name twice":        {func(s *State) { s.Homes[1].Name = "attic" }, BadState},
		"invite's name":     {func(s *State) { s.Invites[0].Name = "attic" }, BadState},
		"key twice":         {func(s *State) { s.Homes[1].PublicKey = s.Homes[0].PublicKey }, BadState},
		"no key":            {func(s *State) { s.Homes[1].PublicKey = key.Public{} }, BadState},
		"the gate's key":    {func(s *State) { s.Homes[1].PublicKey = gate.PublicKey }, BadState},
		"invite's key":      {func(s *State) { s.Invites[0].PublicKey = s.Homes[0].PublicKey }, BadState},
		"address twice":     {func(s *State) { s.Homes[1].Address4 = s.Homes[0].Address4 }, BadState},
		"the gate's":        {func(s *State) { s.Homes[1].Address4 = gate.Address4() }, BadState},
		"IPv6 twice":        {func(s *State) { s.Homes[1].Address6 = s.Homes[0].Address6 }, BadState},
		"no IPv6":           {func(s *State) { s.Homes[1].Address6 = netip.Addr{} }, OutsideTunnel},
		"foreign address":   {func(s *State) { s.Homes[1].Address4 = netip.MustParseAddr("10.98.0.2") }, OutsideTunnel},
		"foreign invite":    {func(s *State) { s.Invites[0].Address4 = netip.MustParseAddr("10.98.0.2") }, OutsideTunnel},
		"ID twice":          {func(s *State) { s.Homes[1].Forwards[0].ID = s.Homes[0].Forwards[0].ID }, BadState},
		"ID too high":       {func(s *State) { s.Homes[1].Forwards[0].ID = forward.MaxID + 1 }, BadState},
		"granted, no ID":    {func(s *State) { s.Homes[1].Forwards[0].ID = 0 }, BadState},
		"port twice":        {func(s *State) { s.Homes[1].Forwards[0].Wanted.Ports = ports("80/tcp") }, BadState},
		"port 0":            {func(s *State) { s.Homes[1].Forwards[0].Wanted.Ports[0].Range.First = 0 }, BadState},
		"too many forwards": {func(s *State) { s.Homes[1].Forwards = make([]Forward, forward.MaxForwards+1) }, BadState},
	} {
		t.Run(name, func(t *testing.T) {
			s := twoHomes(t)
			if err := s.Check(gate); err != nil {
				t.Fatal(err)
			}
			test.damage(s)
			wantCode(t, s.Check(gate), test.want)
		})
	}
	wantCode(t, New().Check(Gate{}), UnusableTunnel)
}

func twoHomes(t *testing.T) *State {
	s := stored()
	enrol(t, s, "cellar", 2)
	push(t, s, "cellar", permitted, wants("mail", "25/tcp"))
	return s
}
