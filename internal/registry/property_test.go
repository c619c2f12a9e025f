package registry

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// edges are the ports where mistakes live.
var edges = []uint16{1, 2, 21, 22, 23, 79, 80, 443, 2222, 32768, 51819, 51820, 51821, 51822, 65534, 65535}

func drawRange(t *rapid.T) forward.Ports {
	port := rapid.OneOf(rapid.SampledFrom(edges), rapid.Uint16Range(1, 65535))
	a, b := port.Draw(t, "first"), port.Draw(t, "last")
	protocol := rapid.SampledFrom([]forward.Protocol{forward.TCP, forward.UDP}).Draw(t, "protocol")
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case kind == 0:
		a, b = 1, 65535
	case kind < 6:
		b = a
	}
	return forward.Ports{Protocol: protocol, Range: forward.Range{First: min(a, b), Last: max(a, b)}}
}

func drawPorts(t *rapid.T, least, most int) forward.PortSet {
	return forward.NewPortSet(rapid.SliceOfN(rapid.Custom(drawRange), least, most).Draw(t, "ports")...)
}

func drawPolicy(t *rapid.T) Policy {
	p := Policy{
		Allowed:     config.AllPorts(),
		Denied:      drawPorts(t, 0, 2),
		MaxForwards: rapid.IntRange(0, 6).Draw(t, "max"),
		Families:    rapid.SampledFrom([]forward.Families{both, both, {IPv4: true}, {}}).Draw(t, "families"),
	}
	if rapid.IntRange(0, 3).Draw(t, "restricted") == 0 {
		p.Allowed = drawPorts(t, 0, 4)
	}
	for _, use := range []string{"ssh", "WireGuard"} {
		p.Reserved = append(p.Reserved, Reserved{drawPorts(t, 0, 2), use})
	}
	return p
}

func drawWanted(t *rapid.T) []forward.Published {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) forward.Published {
		return forward.Published{
			Name:     rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "forward"),
			Ports:    drawPorts(t, 0, 3),
			Families: rapid.SampledFrom([]forward.Families{both, {IPv4: true}, {IPv6: true}}).Draw(t, "wanted families"),
		}
	}), 0, 5).Draw(t, "wanted")
}

// captured says which granted ports the policy keeps back, or "". It compares
// ends of ranges itself and so shares no code with what it checks.
func captured(s *State, home string, p Policy) string {
	for _, g := range s.Granted() {
		if g.Home != home {
			continue
		}
		for _, q := range g.Published.Ports {
			inside := func(a forward.Ports) bool {
				return a.Protocol == q.Protocol && a.Range.First <= q.Range.First && q.Range.Last <= a.Range.Last
			}
			touches := func(a forward.Ports) bool {
				return a.Protocol == q.Protocol && a.Range.First <= q.Range.Last && q.Range.First <= a.Range.Last
			}
			if !slices.ContainsFunc(p.Allowed, inside) || slices.ContainsFunc(p.Denied, touches) {
				return fmt.Sprintf("%v is not allowed", q)
			}
			for _, r := range p.Reserved {
				if slices.ContainsFunc(r.Ports, touches) {
					return fmt.Sprintf("%v holds what is reserved for %s", q, r.Use)
				}
			}
		}
	}
	return ""
}

// No forward, range or policy takes a reserved port: 10,000 random policies,
// each with a random push, or 1-65535 of both protocols, or both.
func TestReservedPortsNeverGranted(t *testing.T) {
	fresh := New()
	enrol(t, fresh, "attic", 1)
	everything := wants("everything", "1-65535")
	granted, checked := 0, 0
	draw := rapid.Custom(func(t *rapid.T) Policy { return drawPolicy(t) })
	wanted := rapid.Custom(drawWanted)
	for seed := range 10_000 {
		p := draw.Example(seed)
		s := fresh.Clone()
		list := append([]forward.Published{everything}, wanted.Example(seed)...)
		push(t, s, "attic", p, list...)
		if why := captured(s, "attic", p); why != "" {
			t.Fatalf("seed %d: %s", seed, why)
		}
		granted += len(s.Granted())
		checked++
	}
	if checked != 10_000 || granted == 0 {
		t.Errorf("%d policies checked, %d forwards granted: the test proves nothing", checked, granted)
	}
}

// walk is a random history of a gate.
type walk struct {
	state    *State
	now      time.Time
	policies map[string]Policy
	secrets  []key.Secret
	used     map[key.SecretHash]key.Public
	keys     byte
}

func (w *walk) name(t *rapid.T) string {
	return rapid.SampledFrom([]string{"attic", "cellar", "shed"}).Draw(t, "home")
}

func (w *walk) policy(name string) Policy { return w.policies[name] }

func (w *walk) invite(t *rapid.T) {
	secret, err := key.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.state.Invite(gate, w.name(t), secret, w.now, time.Hour); err == nil {
		w.secrets = append(w.secrets, secret)
	}
}

// redeem tries an invite with a new key or an old one, and holds the registry
// to a single winner.
func (w *walk) redeem(t *rapid.T) {
	if len(w.secrets) == 0 {
		return
	}
	secret := rapid.SampledFrom(w.secrets).Draw(t, "secret")
	w.keys++
	k := key.Public{1 + rapid.ByteRange(0, w.keys).Draw(t, "key")}
	from := gate.Address4()
	for _, v := range w.state.Invites {
		if v.Hash.Matches(secret) {
			from = v.Address4
		}
	}
	h, err := w.state.Redeem(gate, secret, from, k, w.now)
	if err != nil {
		return
	}
	if winner, used := w.used[secret.Hash()]; used && winner != k {
		t.Fatalf("an invite let in %v and %v", winner, k)
	}
	if h.PublicKey != k {
		t.Fatalf("enrolled %v instead of %v", h.PublicKey, k)
	}
	w.used[secret.Hash()] = k
	if _, known := w.policies[h.Name]; !known {
		w.policies[h.Name] = permitted
	}
}

func (w *walk) push(t *rapid.T) {
	name := w.name(t)
	h, _ := w.state.HomeByName(name)
	generation := h.Generation + rapid.Uint64Range(0, 1).Draw(t, "generation")
	_, _ = w.state.Push(name, generation, drawWanted(t), w.policies[name])
}

func (w *walk) revoke(t *rapid.T) { _, _ = w.state.Revoke(w.name(t)) }

func (w *walk) changePolicy(t *rapid.T) {
	w.policies[w.name(t)] = drawPolicy(t)
	w.state.Reconsider(w.policy)
}

func (w *walk) pass(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "minutes")) * time.Minute)
	w.state.Expire(w.now)
}

// check looks at what must hold after every step.
func (w *walk) check(t *rapid.T) {
	if err := w.state.Check(gate); err != nil {
		t.Fatal(err)
	}
	for _, h := range w.state.Homes {
		if why := captured(w.state, h.Name, w.policies[h.Name]); why != "" {
			t.Fatalf("%s: %s", h.Name, why)
		}
	}
	granted := w.state.Granted()
	for i, g := range granted {
		for _, o := range granted[:i] {
			if both := intersect(forward.NewPortSet(g.Published.Ports...), forward.NewPortSet(o.Published.Ports...)); len(both) > 0 {
				t.Fatalf("%v belongs to forwards %d and %d", both, g.ID, o.ID)
			}
		}
	}
}

// What a home is told names nothing of the others: neither them, nor their
// forwards, nor a port that it has not asked for itself.
func TestVerdictsSayNothingOfOthers(t *testing.T) {
	digits := regexp.MustCompile(`[0-9]+`)
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		s.Homes = []Home{
			{Name: "attic", Address4: gate.Address4().Next()},
			{Name: "zzcellar", Address4: gate.Address4().Next().Next()},
		}
		port := rapid.Uint16Range(1000, 1010)
		forwarded := func(name string) forward.Published {
			p := forward.Ports{Protocol: forward.TCP, Range: forward.Range{First: port.Draw(t, "port")}}
			p.Range.Last = p.Range.First + rapid.Uint16Range(0, 3).Draw(t, "more")
			return forward.Published{Name: name, Ports: []forward.Ports{p}, Families: forward.Families{IPv4: true}}
		}
		theirs := []forward.Published{forwarded("zzsecret"), forwarded("zzother")}
		own := []forward.Published{forwarded("web"), forwarded("mail")}
		_, _ = s.Push("zzcellar", 1, theirs, permitted)
		verdicts, err := s.Push("attic", 1, own, permitted)
		if err != nil {
			t.Fatal(err)
		}
		s.Reconsider(func(string) Policy { return permitted })
		verdicts = append(verdicts, s.Homes[0].Verdicts()...)
		for _, v := range verdicts {
			text := v.Reason + strings.Join(v.Notes, " ")
			if strings.Contains(text, "zz") {
				t.Fatalf("it names another home, or its forward: %s", text)
			}
			for _, number := range digits.FindAllString(text, -1) {
				n, err := strconv.Atoi(number)
				asked := slices.ContainsFunc(own, func(p forward.Published) bool {
					return int(p.Ports[0].Range.First) <= n && n <= int(p.Ports[0].Range.Last)
				})
				if err != nil || !asked {
					t.Fatalf("it names the port %s, which this home has not asked for: %s", number, text)
				}
			}
		}
	})
}

func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &walk{state: New(), now: noon, policies: map[string]Policy{}, used: map[key.SecretHash]key.Public{}}
		t.Repeat(map[string]func(*rapid.T){
			"":       w.check,
			"invite": w.invite,
			"redeem": w.redeem,
			"push":   w.push,
			"revoke": w.revoke,
			"policy": w.changePolicy,
			"pass":   w.pass,
		})
	})
}
