package gate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Each message is taken from those alone whom the table of messages names.
func TestWhoMaySendAMessage(t *testing.T) {
	s := newStanding(t, "attic")
	secret, err := key.NewSecret()
	must(t, err)
	var invite registry.Invite
	must(t, s.memory.change(func(r *registry.State) (err error) {
		invite, err = r.Invite(s.memory.state.Identity(), "barn", secret, time.Now(), time.Hour)
		return err
	}))
	own, err := key.NewPrivate()
	must(t, err)
	enrol, err := json.Marshal(control.EnrolRequest{Version: control.Version, Secret: secret, PublicKey: own.Public()})
	must(t, err)
	bodies := map[string]string{
		"/v1/enrol":    string(enrol),
		"/v1/forwards": `{"version":1,"generation":1,"forwards":[]}`,
		"/v1/doctor":   `{"version":1,"kind":"brief"}`,
	}
	server := control.NewServer(s.channel, s.log)
	send := func(m control.Message, from netip.Addr) (status int, text string) {
		ask := httptest.NewRequest(m.Method, "http://10.99.0.1:1"+m.Path, bytes.NewReader([]byte(bodies[m.Path])))
		ask.Header.Set("Content-Type", "application/json")
		ask.RemoteAddr = netip.AddrPortFrom(from, 1024).String()
		w := httptest.NewRecorder()
		s.do(t, func() error {
			server.ServeHTTP(w, ask)
			return nil
		})
		return w.Code, w.Body.String()
	}
	home, stranger := s.homes["attic"].Address4, netip.MustParseAddr("10.99.0.77")
	may := map[control.Who]netip.Addr{control.Homes: home, control.Invited: invite.Address4}
	for _, m := range control.API() {
		for _, from := range []netip.Addr{stranger, home, invite.Address4} {
			if from == may[m.Who] {
				continue
			}
			if status, text := send(m, from); status != http.StatusForbidden || !strings.Contains(text, `"code":"`) {
				t.Errorf("%s %s from %v, who is no %s: %d %s", m.Method, m.Path, from, m.Who, status, text)
			}
		}
	}
	for _, m := range control.API() {
		// An attempt that was refused keeps others of its source waiting for a second.
		if status, text := send(m, may[m.Who]); status != http.StatusOK {
			t.Error(fmt.Errorf("%s %s from a %s: %d %s", m.Method, m.Path, m.Who, status, text))
		}
	}
}
