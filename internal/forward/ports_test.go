package forward

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseMapping(t *testing.T) {
	both := func(public, local Range) []Mapping {
		return []Mapping{{Ports{TCP, public}, local}, {Ports{UDP, public}, local}}
	}
	for text, want := range map[string][]Mapping{
		"443":                     both(Range{443, 443}, Range{443, 443}),
		"1-65535":                 both(Range{1, 65535}, Range{1, 65535}),
		"80/tcp":                  {{Ports{TCP, Range{80, 80}}, Range{80, 80}}},
		"25565-25570/udp":         {{Ports{UDP, Range{25565, 25570}}, Range{25565, 25570}}},
		"2222:22/tcp":             {{Ports{TCP, Range{2222, 2222}}, Range{22, 22}}},
		"2222:22":                 both(Range{2222, 2222}, Range{22, 22}),
		"8000-8009:9000-9009/tcp": {{Ports{TCP, Range{8000, 8009}}, Range{9000, 9009}}},
		"7-7/tcp":                 {{Ports{TCP, Range{7, 7}}, Range{7, 7}}},
	} {
		got, err := ParseMapping(text)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// bad are texts that are no ports, with a part of what is said about them.
var bad = map[string]string{
	"":                  `"" is not a port`,
	"0":                 "port 0 does not exist",
	"65536":             `"65536" is not a port`,
	"4294967376":        `is not a port`,
	"99999999999999999": `is not a port`,
	"ssh":               `"ssh" is not a port: write a number from 1 to 65535`,
	"80-70":             `port range "80-70" runs backwards; write 70-80`,
	"80-":               `"" is not a port`,
	"-80":               `"" is not a port`,
	"80-90-100":         `"90-100" is not a port`,
	"0-10":              "port 0 does not exist",
	"080":               `"080" is not a port`,
	"+80":               `"+80" is not a port`,
	" 80":               `" 80" is not a port`,
	"８０":                `is not a port`,
	"80\n":              `"80\n" is not a port`,
	"80/":               `protocol "" is not tcp or udp`,
	"80/TCP":            `protocol "TCP" is not tcp or udp`,
	"80/sctp":           `protocol "sctp" is not tcp or udp`,
	"80/tcp/udp":        `protocol "tcp/udp" is not tcp or udp`,
	"tcp/80":            `protocol "80" is not tcp or udp`,
}

func TestParseMappingRefuses(t *testing.T) {
	more := map[string]string{
		"80:":             `"" is not a port`,
		":80":             `"" is not a port`,
		"80:81:82":        `"81:82" is not a port`,
		"80-89:90-98":     "map 10 public ports to 9 local ones",
		"80:90-98":        "map 1 public ports to 9 local ones",
		"80-89:0-9":       "port 0 does not exist",
		"65530-65535:1-7": "map 6 public ports to 7 local ones",
		"1-65535:2-65535": "map 65535 public ports to 65534 local ones",
		"80-70:80-70/tcp": "runs backwards",
	}
	for _, texts := range []map[string]string{bad, more} {
		for text, want := range texts {
			got, err := ParseMapping(text)
			if err == nil || got != nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: got %v, %v; want an error with %q", text, got, err, want)
			}
		}
	}
}

func TestParsePortsRefuses(t *testing.T) {
	for text, want := range bad {
		if got, err := ParsePorts(text); err == nil || got != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want an error with %q", text, got, err, want)
		}
	}
	if got, err := ParsePorts("2222:22"); err == nil {
		t.Errorf("a mapping was read as %v", got)
	}
}

// What comes from elsewhere may be long; what is said about it is not.
func TestErrorsAreShort(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, text := range []string{long, "80/" + long, "80-" + long, long + "-80", "80:" + long} {
		if _, err := ParseMapping(text); err == nil || len(err.Error()) > 300 {
			t.Errorf("%.20q…: an error of %d characters", text, len(err.Error()))
		}
	}
	for _, err := range []error{CheckName(long), errOf(ParseSource(long)), errOf(ParseRate(long)), errOf(ParseProtocol(long))} {
		if err == nil || len(err.Error()) > 300 {
			t.Errorf("an error of %d characters", len(err.Error()))
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

func drawRange(t *rapid.T, label string) Range {
	// Small numbers make ranges touch and overlap; the edges are where
	// arithmetic on 16 bits goes wrong.
	port := rapid.OneOf(rapid.Uint16Range(1, 40), rapid.Uint16Range(65500, 65535), rapid.Uint16Range(1, 65535))
	a, b := port.Draw(t, label+" first"), port.Draw(t, label+" last")
	return Range{min(a, b), max(a, b)}
}

func drawPorts(t *rapid.T, label string) Ports {
	return Ports{rapid.SampledFrom([]Protocol{TCP, UDP}).Draw(t, label+" protocol"), drawRange(t, label)}
}

func drawSet(t *rapid.T, label string) PortSet {
	var all []Ports
	for range rapid.IntRange(0, 8).Draw(t, label+" size") {
		all = append(all, drawPorts(t, label))
	}
	return NewPortSet(all...)
}

func TestMappingStringRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Mapping{Public: drawPorts(t, "public")}
		first := rapid.Uint16Range(1, uint16(65535-m.Public.Range.Len()+1)).Draw(t, "local")
		m.Local = Range{first, first + uint16(m.Public.Range.Len()-1)}
		got, err := ParseMapping(m.String())
		if err != nil || len(got) != 1 || got[0] != m {
			t.Fatalf("%s came back as %v, %v", m, got, err)
		}
		ports, err := ParsePorts(m.Public.String())
		if err != nil || len(ports) != 1 || ports[0] != m.Public {
			t.Fatalf("%s came back as %v, %v", m.Public, ports, err)
		}
	})
}

// model is a set of ports as one would write it without thinking.
type model [2][65536]bool

func modelOf(list ...Ports) *model {
	m := new(model)
	for _, p := range list {
		row := m.row(p.Protocol)
		for port := int(p.Range.First); port <= int(p.Range.Last); port++ {
			row[port] = true
		}
	}
	return m
}

func (m *model) row(p Protocol) *[65536]bool {
	if p == TCP {
		return &m[0]
	}
	return &m[1]
}

// combine applies f port by port.
func combine(a, b *model, f func(a, b bool) bool) *model {
	m := new(model)
	for i := range m {
		for port := range m[i] {
			m[i][port] = f(a[i][port], b[i][port])
		}
	}
	return m
}

// checkForm holds for every PortSet: sorted, and no two ranges overlap or
// touch.
func checkForm(t *rapid.T, s PortSet) {
	t.Helper()
	for i, p := range s {
		if p.Range.First == 0 || p.Range.First > p.Range.Last {
			t.Fatalf("%v has a bad range", s)
		}
		if i == 0 {
			continue
		}
		q := s[i-1]
		if q.Protocol > p.Protocol || q.Protocol == p.Protocol && int(q.Range.Last)+1 >= int(p.Range.First) {
			t.Fatalf("%v is not sorted and apart", s)
		}
	}
}

func TestPortSetAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, p := drawSet(t, "a"), drawSet(t, "b"), drawPorts(t, "p")
		ma, mb, mp := modelOf(a...), modelOf(b...), modelOf(p)
		for _, c := range []struct {
			name string
			got  PortSet
			want *model
		}{
			{"union", a.Union(b), combine(ma, mb, func(a, b bool) bool { return a || b })},
			{"without", a.Without(b), combine(ma, mb, func(a, b bool) bool { return a && !b })},
			{"intersect", a.Intersect(p), combine(ma, mp, func(a, b bool) bool { return a && b })},
		} {
			checkForm(t, c.got)
			if *modelOf(c.got...) != *c.want {
				t.Fatalf("%s of %v and %v (or %v) is %v", c.name, a, b, p, c.got)
			}
		}
		contains := *combine(ma, mp, func(a, p bool) bool { return p && !a }) == model{}
		if got := a.Contains(p); got != contains {
			t.Fatalf("%v contains %v: got %t", a, p, got)
		}
	})
}

func TestPortSetLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawSet(t, "a"), drawSet(t, "b")
		same := func(law string, x, y PortSet) {
			if diff := cmp.Diff(x.String(), y.String()); diff != "" {
				t.Fatalf("%s fails for %v and %v:\n%s", law, a, b, diff)
			}
		}
		same("a ∪ b = b ∪ a", a.Union(b), b.Union(a))
		same("a ∪ a = a", a.Union(a), a)
		same("a \\ a = ∅", a.Without(a), nil)
		same("(a \\ b) ∪ b = a ∪ b", a.Without(b).Union(b), a.Union(b))
		same("a \\ b \\ b = a \\ b", a.Without(b).Without(b), a.Without(b))
		var back []Ports
		for _, p := range a {
			parsed, err := ParsePorts(p.String())
			if err != nil {
				t.Fatal(err)
			}
			back = append(back, parsed...)
		}
		same("a, read back", NewPortSet(back...), a)
	})
}

// The operations give new sets and leave the old ones alone.
func TestPortSetsAreNotChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawSet(t, "a"), drawSet(t, "b")
		before := a.String() + b.String()
		got := a.Union(b)
		for i := range got {
			got[i].Range.First = 1
		}
		got = a.Without(b)
		for i := range got {
			got[i].Range.First = 1
		}
		if a.String()+b.String() != before {
			t.Fatalf("%s became %s and %s", before, a, b)
		}
	})
}

func TestRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawRange(t, "a"), drawRange(t, "b")
		shared := 0
		for port := int(a.First); port <= int(a.Last); port++ {
			if b.Contains(uint16(port)) {
				shared++
			}
		}
		if a.Overlaps(b) != (shared > 0) || a.Overlaps(b) != b.Overlaps(a) {
			t.Fatalf("%s and %s share %d ports; Overlaps says %t", a, b, shared, a.Overlaps(b))
		}
		if got, err := ParseRange(a.String()); err != nil || got != a {
			t.Fatalf("%s came back as %s, %v", a, got, err)
		}
	})
}

func FuzzParseMapping(f *testing.F) {
	for text := range bad {
		f.Add(text)
	}
	for _, text := range []string{"443", "80/tcp", "2222:22/tcp", "8000-8009:9000-9009/udp", "1-65535", "1-65535:1-65535/tcp"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		mappings, err := ParseMapping(text)
		if err != nil {
			if mappings != nil || err.Error() == "" {
				t.Errorf("got %v, %v", mappings, err)
			}
			return
		}
		for _, m := range mappings {
			public, local := m.Public.Range, m.Local
			if public.First == 0 || public.First > public.Last || local.First == 0 || local.First > local.Last || public.Len() != local.Len() {
				t.Errorf("%q became %+v", text, m)
			}
			if again, err := ParseMapping(m.String()); err != nil || len(again) != 1 || again[0] != m {
				t.Errorf("%s came back as %v, %v", m, again, err)
			}
		}
	})
}
