package registry

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// The file outlives the program that wrote it: this test fails when a name
// in it changes, also one of another package.
func TestStoredForm(t *testing.T) {
	s := stored()
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "state.json")
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("the stored form has changed (-want +got):\n%s", diff)
	}
	var back State
	if err := json.Unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	sameState(t, s, &back)
	if err := back.Check(gate); err != nil {
		t.Error(err)
	}
}

func stored() *State {
	web := wants("web", "80/tcp 443")
	web.Allow = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	web.Limit = forward.Limit{NewConnections: forward.Rate{Count: 20, Per: time.Second}, Connections: 200}
	return &State{
		Version: Version,
		Homes: []Home{{
			Name: "attic", PublicKey: key.Public{1}, Enrolled: noon, Generation: 7,
			Address4: netip.MustParseAddr("10.99.0.2"), Address6: netip.MustParseAddr("fd00:99::2"),
			Forwards: []Forward{
				{ID: 1, Wanted: web, Granted: true, Families: both, Notes: []string{"a note"}},
				{Wanted: wants("shell", "22/tcp"), Reason: "the gate needs it"},
			},
			LastEndpoint: netip.MustParseAddrPort("203.0.113.7:4711"),
		}},
		Invites: []Invite{{
			Name: "shed", Hash: key.SecretHash{2}, PublicKey: key.Public{3},
			Address4: netip.MustParseAddr("10.99.0.254"), Created: noon, Expires: noon.Add(time.Hour),
		}},
		NextForwardID: 2,
	}
}

func sameState(t testing.TB, want, got *State) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})); diff != "" {
		t.Errorf("the state differs (-want +got):\n%s", diff)
	}
}
