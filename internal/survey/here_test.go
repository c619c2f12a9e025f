package survey

import (
	"strings"
	"testing"
)

// The same judge, asked on the machine itself, speaks of here, and does not
// expect that anything is installed for it.
func TestJudgeHere(t *testing.T) {
	for _, c := range []struct {
		name    string
		look    string
		ssh     []uint16
		refuses []string
		hints   string
		notes   []string
	}{
		{"a fresh Debian", debian, []uint16{22}, nil, "", nil},
		{"no nft", but("nft=", "nft_package=not-installed"), []uint16{22}, []string{"it has no nft"}, "apt-get install nftables", nil},
		{"no systemd", but("init=openrc"), []uint16{22}, nil, "", nil},
		{"embedded", but("wireguard="), []uint16{22}, nil, "", nil},
		{"neither", but("wireguard=", "tun="), []uint16{22}, []string{"neither WireGuard nor /dev/net/tun"}, "modprobe tun", nil},
		{"a held port", but(`+listen=udp *:55107 users:(("other",pid=7,fd=3))`), []uint16{22}, []string{"other uses UDP port 55107 here"}, "stop it here", []string{"other is listening on 55107/udp here and will be closed;"}},
		{"nameless", but("+listen=tcp *:8080", "+listen=tcp *:2222"), []uint16{22, 2222}, nil, "", []string{"something is listening on 8080/tcp here and will be closed;"}},
		{"ufw", but("+firewall=ufw"), []uint16{22}, nil, "", []string{"ufw is active here"}},
		{"Docker", but("+docker=yes"), []uint16{22}, nil, "", []string{"Docker makes the machine drop"}},
		{"Docker came first", but("+docker=yes", "+forwarding=yes"), []uint16{22}, nil, "", nil},
		{"no sshd", debian, []uint16{}, nil, "", nil},
		{"keys of a gate", but("+state=gate"), []uint16{22}, []string{"still has the keys of a gate"}, "restore gate.toml", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Parse(c.look)
			if err != nil {
				t.Fatal(err)
			}
			f.SSHPorts = c.ssh
			v := Judge(f, Wish{Here: true, Port: 55107})
			var refusals, hints []string
			for _, r := range v.Refusals {
				refusals, hints = append(refusals, r.Why), append(hints, r.Hint)
			}
			match(t, "refusals", refusals, c.refuses)
			match(t, "notes", v.Notes, c.notes)
			all := strings.Join(append(hints, append(refusals, v.Notes...)...), "\n")
			if !strings.Contains(all, c.hints) || strings.Contains(all, "there:") || strings.Contains(all, " there ") {
				t.Errorf("%q", all)
			}
			if v.Bring || v.InstallNFT || v.Enable {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestJudgeHome(t *testing.T) {
	for look, want := range map[string]string{debian: "", but("nft="): "nft", but("wireguard=", "tun="): "/dev/net/tun", but("init=", "disk_kib=1"): ""} {
		f, err := Parse(look)
		if err != nil {
			t.Fatal(err)
		}
		refusals := JudgeHome(f)
		if (len(refusals) == 0) != (want == "") || want != "" && !strings.Contains(refusals[0].Why, want) {
			t.Errorf("%+v, wanted %q", refusals, want)
		}
	}
}

func TestWhatChangesIsSaid(t *testing.T) {
	f := Facts{SSHPorts: []uint16{22, 2222}}
	for got, want := range map[string]string{
		f.SSHText(): "port 22, 2222: kept open", Facts{}.SSHText(): "port 22 is kept open",
		f.KernelText(): "switches forwarding on", Facts{Forwarding: true}.KernelText(): "forwarding is on already",
		f.DeviceText(): "embedded", Facts{WireGuard: true}.DeviceText(): "kernel",
		InputText(false, "this machine"): "only ssh", InputText(true, "the VPS"): "the VPS itself is not filtered",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
}
