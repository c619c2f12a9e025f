package registry

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
)

// A gate knows for a week whom it has revoked, and no more of them than fit. Who
// comes in again is forgiven.
func TestWhoWasRevoked(t *testing.T) {
	s := New()
	names := func() string {
		var list []string
		for _, f := range s.Former {
			list = append(list, f.Name)
		}
		return strings.Join(list, " ")
	}
	wants := func(want string) {
		t.Helper()
		if got := names(); got != want {
			t.Errorf("remembered are %q, wanted %q", got, want)
		}
		text, err := json.Marshal(s)
		if err != nil || strings.Contains(string(text), "Former") != (want != "") {
			t.Errorf("stored as %s, %v", text, err)
		}
	}
	wants("")
	Remember(s, Home{}, noon) // of an invite
	wants("")
	at := netip.MustParseAddrPort("203.0.113.7:4711")
	Remember(s, Home{Name: "attic", PublicKey: key.Public{1}, LastEndpoint: at}, noon)
	Remember(s, Home{Name: "cellar", PublicKey: key.Public{2}}, noon.Add(time.Hour))
	wants("attic cellar")
	if f := s.Former[0]; f.PublicKey != (key.Public{1}) || f.Endpoint != at || !f.Revoked.Equal(noon) {
		t.Errorf("%+v", f)
	}
	enrol(t, s, "cellar", 3) // with another key
	wants("attic")
	if s.Expire(noon.Add(FormerTime)); len(s.Former) != 1 {
		t.Error("forgotten before a week")
	}
	if !s.Expire(noon.Add(FormerTime + time.Second)).Changed {
		t.Error("nothing has changed after a week")
	}
	wants("")
	for i := range MaxFormer + 2 {
		Remember(s, Home{Name: fmt.Sprint("home-", i), PublicKey: key.Public{1, byte(i), byte(i >> 8)}}, noon)
	}
	if len(s.Former) != MaxFormer || s.Former[0].Name != "home-2" {
		t.Errorf("%d are remembered, first %s", len(s.Former), s.Former[0].Name)
	}
}
