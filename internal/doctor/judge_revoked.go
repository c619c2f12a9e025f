package doctor

import (
	"fmt"
	"net/netip"
	"slices"
)

// judgeRevoked finds homes that call although they were revoked, and returns the rest
// of what is to be judged: their calls are no other home's.
func judgeRevoked(s Side) ([]Finding, Side) {
	var found []Finding
	named := map[string]bool{}
	calls := func(stranger netip.AddrPort) bool {
		i := slices.IndexFunc(s.Revoked, func(r Revoked) bool { return r.Endpoint.IsValid() && r.Endpoint.Addr() == stranger.Addr() })
		if i < 0 {
			return false
		}
		if r := s.Revoked[i]; !named[r.Name] {
			named[r.Name] = true
			found = append(found, revokedCalls(r))
		}
		return true
	}
	s.Strangers = slices.DeleteFunc(slices.Clone(s.Strangers), calls)
	return found, s
}

func revokedCalls(r Revoked) Finding {
	return Finding{ID: WrongKey, Where: AtTunnel, Severity: Warning, On: "the home",
		Sentence: fmt.Sprintf("Home %s, which was revoked on %s, still calls: from %s, where it was then, somebody calls this gate with a key that it does not know.", r.Name, r.At.Format("2 Jan 15:04"), r.Endpoint.Addr()),
		Command:  "gatelodge leave", Hint: fmt.Sprintf("on that home; if it is to come in again, here: gatelodge gate invite %s, and then there: gatelodge join INVITE", r.Name)}
}
