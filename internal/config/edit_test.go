package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// web is a forward as a newcomer would add it.
func web() NewForward { return NewForward{Name: "web", Ports: []string{"80/tcp", "443"}} }

func TestAddForward(t *testing.T) {
	tests := map[string]struct{ before, after string }{
		"plain":            {"version = 1\n", "version = 1\n\n[forward.web]\nports = [\"80/tcp\", \"443\"]\n"},
		"no final newline": {"version = 1", "version = 1\n\n[forward.web]\nports = [\"80/tcp\", \"443\"]"},
		"CRLF":             {"version = 1\r\n", "version = 1\r\n\r\n[forward.web]\r\nports = [\"80/tcp\", \"443\"]\r\n"},
		"comment at end":   {"version = 1\n# mine", "version = 1\n# mine\n\n[forward.web]\nports = [\"80/tcp\", \"443\"]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			after, err := AddForward([]byte(tt.before), web())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.after, string(after)); diff != "" {
				t.Errorf("after adding (-want +got):\n%s", diff)
			}
			back, err := RemoveForward(after, "web")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.before, string(back)); diff != "" {
				t.Errorf("after removing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAddForwardWithEverything(t *testing.T) {
	f := NewForward{
		Name: "game", Ports: []string{"25565-25570/udp"}, To: "192.168.1.20", Source: "masquerade",
		Allow: []string{"198.51.100.0/24", "2001:db8::1"}, NewConnections: "20/second", Connections: 200,
	}
	after, err := AddForward([]byte("version = 1\n"), f)
	if err != nil {
		t.Fatal(err)
	}
	want := `version = 1

[forward.game]
ports = ["25565-25570/udp"]
to = "192.168.1.20"
source = "masquerade"
allow = ["198.51.100.0/24", "2001:db8::1"]
limit = { new_connections = "20/second", connections = 200 }
`
	if diff := cmp.Diff(want, string(after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAddForwardRefuses(t *testing.T) {
	tests := map[string]struct {
		before string
		f      NewForward
		want   string
	}{
		"damaged file":  {"version = 1\nx = 1\n", web(), `home.toml:2:1: home.toml has no key "x"`},
		"name in use":   {"version = 1\n[forward.web]\nports = \"1\"\n", web(), `there is a forward "web" already`},
		"bad name":      {"version = 1\n", NewForward{Name: "a b", Ports: []string{"1"}}, `such as "a-b"`},
		"no ports":      {"version = 1\n", NewForward{Name: "web"}, "ports is empty"},
		"bad port":      {"version = 1\n", NewForward{Name: "web", Ports: []string{"ssh\"]\n#\x00\\"}}, "is not a port"},
		"port in use":   {"version = 1\n[forward.a]\nports = \"443\"\n", web(), `443/tcp is taken by forward "a" (home.toml:3:9)`},
		"inline tables": {"version = 1\nforward = { a = { ports = \"1\" } }\n", web(), "in another form (see home.toml:2:1)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			after, err := AddForward([]byte(tt.before), tt.f)
			if err == nil || !strings.Contains(err.Error(), tt.want) || after != nil {
				t.Errorf("got %q, %v; want an error with %q", after, err, tt.want)
			}
		})
	}
}

// Dotted keys leave room for further tables, in TOML and so here.
func TestAddForwardBesideDottedKeys(t *testing.T) {
	for _, before := range []string{
		"version = 1\nforward.a.ports = \"1\"\n",
		"version = 1\n[forward]\na.ports = \"1\"\n",
		"version = 1\n[forward]\na = { ports = \"1\" }\n",
	} {
		after, err := AddForward([]byte(before), web())
		if err != nil {
			t.Errorf("%q: %v", before, err)
			continue
		}
		if back, err := RemoveForward(after, "web"); err != nil || string(back) != before {
			t.Errorf("got %q back, %v; want %q", back, err, before)
		}
	}
}

// Each file of testdata/remove says where its forward "web" is cut from: the
// lines with a bar in front stay, those with a minus go.
func TestRemoveForward(t *testing.T) {
	files, err := filepath.Glob("testdata/remove/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d files, err %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			marked, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var before, want string
			for text := range strings.Lines(string(marked)) {
				before += text[1:]
				if text[0] == '|' {
					want += text[1:]
				}
			}
			got, err := RemoveForward([]byte(before), "web")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRemoveForwardRefuses(t *testing.T) {
	tests := map[string]struct{ before, name, want string }{
		"none":     {"version = 1\n", "web", "there is none at all"},
		"unknown":  {"version = 1\n[forward.web]\nports = \"1\"\n", "mail", "there are web"},
		"mistyped": {"version = 1\n[forward.web]\nports = \"1\"\n", "wbe", `did you mean "web"?`},
		"dotted":   {"version = 1\nforward.web.ports = \"1\"\n", "web", "remove it by hand"},
		"below":    {"version = 1\n[forward]\nweb.ports = \"1\"\n", "web", "(see home.toml:3:1)"},
		"in table": {"version = 1\n[forward]\nweb = { ports = \"1\" }\n", "web", "(see home.toml:3:1)"},
		"inline":   {"version = 1\nforward = { web = { ports = \"1\" } }\n", "web", "(see home.toml:2:1)"},
		"damaged":  {"version = 1\n[forward.web]\n", "web", "has no ports"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			after, err := RemoveForward([]byte(tt.before), tt.name)
			if err == nil || !strings.Contains(err.Error(), tt.want) || after != nil {
				t.Errorf("got %q, %v; want an error with %q", after, err, tt.want)
			}
		})
	}
}

func TestSetHomePolicy(t *testing.T) {
	tests := map[string]struct{ before, after string }{
		"new":       {"version = 1\n", "version = 1\n\n[home.attic]\nports = [\"80/tcp\", \"443\"]\n"},
		"replaced":  {"version = 1\n[home.attic] # up there\nports = [ # old\n  \"1\",\n] # why\ndeny = []\n", "version = 1\n[home.attic] # up there\nports = [\"80/tcp\", \"443\"] # why\ndeny = []\n"},
		"added":     {"version = 1\r\n[home.attic]\r\nmax_forwards = 3\r\n", "version = 1\r\n[home.attic]\r\nports = [\"80/tcp\", \"443\"]\r\nmax_forwards = 3\r\n"},
		"bare":      {"version = 1\n[home.attic]", "version = 1\n[home.attic]\nports = [\"80/tcp\", \"443\"]"},
		"bare CRLF": {"version = 1\r\n[home.attic]", "version = 1\r\n[home.attic]\r\nports = [\"80/tcp\", \"443\"]"},
		"quoted":    {"version = 1\n[ home . \"attic\" ]\n'ports' = \"1\"\n", "version = 1\n[ home . \"attic\" ]\n'ports' = [\"80/tcp\", \"443\"]\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			after, err := SetHomePolicy([]byte(tt.before), "attic", []string{"80/tcp", "443"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.after, string(after)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetHomePolicyRefuses(t *testing.T) {
	tests := map[string]struct{ before, home, port, want string }{
		"damaged":  {"version = 1\nx = 1\n", "attic", "80", `no key "x"`},
		"bad name": {"version = 1\n", "The Attic", "80", `such as "the-attic"`},
		"bad port": {"version = 1\n", "attic", "http", "is not a port"},
		"reserved": {"version = 1\n", "attic", "22/tcp", "never forwarded"},
		"denied":   {"version = 1\n[policy]\ndeny = \"25\"\n", "attic", "25/tcp", "add deny = [] to [home.attic]"},
		"dotted":   {"version = 1\nhome.attic.ports = \"80\"\n", "attic", "81", "(see gate.toml:2:1)"},
		"inline":   {"version = 1\nhome = {}\n", "attic", "81", "(see gate.toml:2:1)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			after, err := SetHomePolicy([]byte(tt.before), tt.home, []string{tt.port})
			if err == nil || !strings.Contains(err.Error(), tt.want) || after != nil {
				t.Errorf("got %q, %v; want an error with %q", after, err, tt.want)
			}
		})
	}
}

// drawFile draws a home.toml that somebody might have written.
func drawFile(t *rapid.T) string {
	newline := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "newline")
	parts := []string{
		"# a comment", "", "  ", "[tunnel]\nmtu = 1400", "[forward.a]\nports = [\"1/tcp\", # one\n\n  \"2\",\n]\n# limit = {}",
		"[forward.b]\nto = '''192.168.1.20'''\nports = \"3\"", "[gate]", "[forward.a.limit]\nconnections = 3",
		"[firewall] # ours\nprivate_sources = 'drop'", "[marks]\n\n",
	}
	text := "version = 1"
	for _, i := range rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}).Draw(t, "order")[:rapid.IntRange(0, 10).Draw(t, "parts")] {
		text += "\n" + parts[i]
	}
	text += rapid.SampledFrom([]string{"", "\n", "\n\n", "\n# end", "\n\t\n"}).Draw(t, "end")
	return strings.ReplaceAll(text, "\n", newline)
}

func drawForward(t *rapid.T) NewForward {
	return NewForward{
		Name:           rapid.StringMatching(`[c-z0-9]([a-z0-9-]{0,10}[a-z0-9])?`).Draw(t, "name"),
		Ports:          rapid.SampledFrom([][]string{{"80/tcp"}, {"443"}, {"8000-8009:9000-9009/udp", "53"}}).Draw(t, "ports"),
		To:             rapid.SampledFrom([]string{"", "192.168.1.20"}).Draw(t, "to"),
		Source:         rapid.SampledFrom([]string{"", "auto", "preserve", "masquerade"}).Draw(t, "source"),
		Allow:          rapid.SampledFrom([][]string{nil, {"198.51.100.0/24"}}).Draw(t, "allow"),
		NewConnections: rapid.SampledFrom([]string{"", "20/minute"}).Draw(t, "rate"),
		Connections:    rapid.SampledFrom([]uint32{0, 1, 200}).Draw(t, "connections"),
	}
}

// What is added is there beside all that was there, and removing it gives the
// file back as it was.
func TestAddAndRemoveAreInverse(t *testing.T) {
	tried := 0
	rapid.Check(t, func(t *rapid.T) {
		before := []byte(drawFile(t))
		home, err := ParseHome(HomeFile, before)
		if err != nil {
			return // [forward.a.limit] without [forward.a]
		}
		tried++
		f := drawForward(t)
		after, err := AddForward(before, f)
		if err != nil {
			t.Fatalf("%q: %v", before, err)
		}
		grown, err := ParseHome(HomeFile, after)
		if err != nil {
			t.Fatalf("%q: %v", after, err)
		}
		if diff := cmp.Diff(home.Forwards, grown.Forwards[:len(home.Forwards)], byValue, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("other forwards changed (-want +got):\n%s", diff)
		}
		if last := grown.Forwards[len(grown.Forwards)-1]; last.Name != f.Name || last.Limit.Connections != f.Connections {
			t.Fatalf("added %+v, found %+v", f, last)
		}
		back, err := RemoveForward(after, f.Name)
		if err != nil || string(back) != string(before) {
			t.Fatalf("got %q back, %v; want %q", back, err, before)
		}
	})
	if tried == 0 {
		t.Error("no file was valid")
	}
}

// Removing a forward takes that one and no other, wherever it stands.
func TestRemoveTakesOneForward(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := []byte(drawFile(t))
		home, err := ParseHome(HomeFile, before)
		if err != nil || len(home.Forwards) == 0 {
			return
		}
		victim := rapid.IntRange(0, len(home.Forwards)-1).Draw(t, "victim")
		after, err := RemoveForward(before, home.Forwards[victim].Name)
		if err != nil {
			t.Fatalf("%q: %v", before, err)
		}
		left, err := ParseHome(HomeFile, after)
		if err != nil {
			t.Fatalf("%q: %v", after, err)
		}
		home.Forwards = append(home.Forwards[:victim], home.Forwards[victim+1:]...)
		if diff := cmp.Diff(home, left, byValue, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("from %q to %q (-want +got):\n%s", before, after, diff)
		}
	})
}
