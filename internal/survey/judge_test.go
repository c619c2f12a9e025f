package survey

import (
	"strings"
	"testing"
)

// debian is what the script prints on a fresh VPS.
const debian = `look=1
system=Linux
machine=x86_64
kernel=6.1.0-18-amd64
uid=0
distribution=debian 
distribution_name=Debian GNU/Linux 12 (bookworm)
systemctl=yes
init=systemd
virtual=kvm
wireguard=yes
tun=yes
nft=nftables v1.0.6 (Lester Gooch #5)
apt=yes
nft_package=installed
listen=tcp 0.0.0.0:22 users:(("sshd",pid=501,fd=3))
listen=tcp [::]:22 users:(("sshd",pid=501,fd=4))
listen=udp 127.0.0.1:323 users:(("chronyd",pid=400,fd=5))
listen=udp 198.51.100.1%eth0:68 users:(("dhclient",pid=300,fd=7))
disk_kib=4000000
state_kib=4000000
memory_kib=500000
address=198.51.100.1
address=2001:db8:a::1
done=1
`

// but changes lines of it: "nft=" drops the line, "nft=x" replaces it, and
// "+nft=x" adds one.
func but(changes ...string) string {
	lines := strings.Split(strings.TrimSuffix(debian, "\n"), "\n")
	for _, change := range changes {
		name, value, _ := strings.Cut(strings.TrimPrefix(change, "+"), "=")
		var kept []string
		for _, l := range lines[:len(lines)-1] {
			if strings.HasPrefix(change, "+") || !strings.HasPrefix(l, name+"=") {
				kept = append(kept, l)
			}
		}
		if value != "" {
			kept = append(kept, name+"="+value)
		}
		lines = append(kept, "done=1")
	}
	return strings.Join(lines, "\n")
}

func TestJudge(t *testing.T) {
	usual := Wish{Port: 55107, IPv4: true}
	const fresh, reused = "bring init", ""
	for _, c := range []struct {
		name    string
		look    string
		wish    Wish
		todo    string
		refuses []string // all of them, by words
		notes   []string
	}{
		{"a fresh Debian", debian, usual, fresh, nil, nil},
		{"FreeBSD", but("system=FreeBSD"), usual, "", []string{"FreeBSD"}, nil},
		{"s390x", but("machine=s390x"), usual, fresh, []string{"s390x"}, nil},
		{"ARM", but("machine=aarch64"), usual, fresh, nil, nil},
		{"no WireGuard", but("wireguard="), usual, fresh, nil, []string{"embedded"}},
		{"an old kernel without TUN", but("wireguard=", "tun=", "kernel=4.19.0-21-amd64"), usual, fresh, []string{"4.19"}, nil},
		{"an old kernel with TUN", but("wireguard=", "kernel=4.19.0-21-amd64"), usual, fresh, nil, []string{"embedded"}},
		{"OpenVZ without TUN", but("wireguard=", "tun=", "virtual=openvz"), usual, fresh, []string{"openvz"}, nil},
		{"LXC without TUN", but("wireguard=", "tun=", "virtual=lxc"), usual, fresh, []string{"lxc"}, nil},
		{"LXC with TUN", but("wireguard=", "virtual=lxc"), usual, fresh, nil, []string{"embedded"}},
		{"no nft on Debian", but("nft=", "nft_package=not-installed"), usual, "nft " + fresh, nil, nil},
		{"nft lost on Debian", but("nft="), usual, fresh, []string{"nftables is installed"}, nil},
		{"no nft on Fedora", but("nft=", "apt=", "nft_package=", "distribution=fedora"), usual, fresh, []string{"no nft"}, nil},
		{"an old nft", but("nft=nftables v0.9.3 (Topsy)"), usual, fresh, []string{"0.9.3, and 1.0.2"}, nil},
		{"an nft just new enough", but("nft=nftables v1.0.2 (Lester Gooch)"), usual, fresh, nil, nil},
		{"a later nft", but("nft=nftables v1.1"), usual, fresh, nil, nil},
		{"no systemd", but("init=openrc"), usual, fresh, []string{"no systemd"}, nil},
		{"systemd without systemctl", but("systemctl="), usual, fresh, []string{"no systemctl"}, nil},
		{"no systemd, accepted", but("init="), Wish{Port: 55107, IPv4: true, WithoutService: true}, fresh, nil, []string{"gatelodge up"}},
		{"another product on the port", but(`+listen=udp *:55107 users:(("services",pid=7,fd=3))`), usual, fresh, []string{"services uses UDP port 55107"}, []string{"services is listening"}},
		{"a kernel socket on the port", but(`+listen=udp 0.0.0.0:55107`), usual, fresh, []string{"WireGuard interface"}, []string{"something is listening"}},
		{"another port", but(`+listen=udp *:55107 users:(("services",pid=7,fd=3))`), Wish{Port: 4500, IPv4: true, Leave: true}, fresh, nil, nil},
		{"the port on loopback", but(`+listen=udp 127.0.0.53%lo:55107`), usual, fresh, nil, nil},
		{"a web server", but(`+listen=tcp *:80 users:(("nginx",pid=9,fd=3))`), usual, fresh, nil, []string{"nginx is listening on 80/tcp"}},
		{"sshd on another port", but("ssh_connection=192.0.2.2 40000 198.51.100.1 2222", "+listen=tcp *:2222", "+listen=udp *:2222"), usual, fresh, nil, []string{"something is listening on 2222/udp there and will be closed, unless"}},
		{"ufw", but("+firewall=ufw"), usual, fresh, nil, []string{"ufw allow 55107/udp"}},
		{"firewalld and iptables", but("+firewall=firewalld", "+firewall=iptables"), usual, fresh, nil, []string{"firewall-cmd", "iptables is active"}},
		{"IPv6 only, home IPv4 only", but("address=2001:db8:a::1"), usual, fresh, []string{"no common address family"}, nil},
		{"IPv6 only, home too", but("address=2001:db8:a::1"), Wish{Port: 55107, IPv6: true}, fresh, nil, nil},
		{"IPv4 only, home IPv6 only", but("address=198.51.100.1"), Wish{Port: 55107, IPv6: true}, fresh, []string{"no common address family"}, nil},
		{"behind the provider's NAT", but("address=10.0.0.5"), usual, fresh, nil, nil},
		{"no room for the program", but("disk_kib=20000"), usual, fresh, []string{"/usr/local"}, nil},
		{"no room for state", but("state_kib=100"), usual, fresh, []string{"/var/lib"}, nil},
		{"little memory", but("memory_kib=120000"), usual, fresh, nil, []string{"117 MB"}},
		{"a gate already", but("program=/usr/local/bin/gatelodge", "version=gatelodge version 0.3.0", "unit=/etc/systemd/system/gatelodge.service", "role=gate", "running=yes", "listen=udp *:55107"), usual, reused, nil, []string{"0.3.0 at /usr/local", "gate already"}},
		{"a gate that does not start at boot", but("program=/usr/local/bin/gatelodge", "unit=x", "role=gate", "disabled=yes"), usual, "enable", nil, []string{"at /usr/local", "gate already"}},
		{"a gate without its program", but("role=gate"), usual, "bring", nil, []string{"gate already"}},
		{"a program without its unit", but("program=/usr/local/bin/gatelodge", "version=dev"), usual, fresh, nil, []string{"unfinished"}},
		{"a package", but("program=/usr/bin/gatelodge", "package=deb", "unit=/lib/systemd/system/gatelodge.service", "version=gatelodge version 1.0"), usual, "init", nil, []string{"from a package"}},
		{"a home", but("program=/usr/bin/gatelodge", "package=deb", "unit=x", "role=home"), usual, "init", []string{"home already"}, []string{"from a package"}},
		{"the keys of a gate", but("+state=gate", "+kept=/var/lib/gatelodge"), usual, fresh, []string{"still has the keys of a gate"}, nil},
		{"the keys of a home", but("+state=home"), usual, fresh, []string{"still has the keys of a home"}, nil},
		{"a gate with its keys", but("program=/usr/local/bin/gatelodge", "unit=x", "role=gate", "+state=gate"), usual, reused, nil, []string{"at /usr/local", "gate already"}},
		{"all at once", but("machine=mips", "init=", "nft=nftables v0.9.8", "disk_kib=1"), usual, fresh, []string{"mips", "/usr/local", "0.9.8", "no systemd"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Parse(c.look)
			if err != nil {
				t.Fatal(err)
			}
			v := Judge(f, c.wish)
			if got := v.todo(); got != c.todo {
				t.Errorf("to do: %q, wanted %q", got, c.todo)
			}
			var refusals []string
			for _, r := range v.Refusals {
				if r.Hint == "" {
					t.Errorf("%q comes without a hint", r.Why)
				}
				refusals = append(refusals, r.Why)
			}
			match(t, "refusals", refusals, c.refuses)
			match(t, "notes", v.Notes, c.notes)
		})
	}
}

func (v Verdict) todo() string {
	var words []string
	for _, w := range []struct {
		is   bool
		word string
	}{{v.InstallNFT, "nft"}, {v.Bring, "bring"}, {v.Init, "init"}, {v.Enable, "enable"}} {
		if w.is {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, " ")
}

// match compares texts, one by one, with words that they must hold.
func match(t *testing.T, what string, texts, words []string) {
	t.Helper()
	ok := len(texts) == len(words)
	for i := 0; ok && i < len(words); i++ {
		ok = strings.Contains(texts[i], words[i])
	}
	if !ok {
		t.Errorf("%s: %q, wanted %q", what, texts, words)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "This account is not available.\n", strings.TrimSuffix(debian, "done=1\n"), but("uid=root"), but("disk_kib=many")} {
		if f, err := Parse(text); err == nil {
			t.Errorf("%q is taken for %+v", text, f)
		}
	}
}

// A login script may talk before the answer, and another machine's words must
// not move our cursor.
func TestParseIsNotMisled(t *testing.T) {
	f, err := Parse("system=motd\nWelcome!\n" + but("distribution_name=De\x1b[31mbian\r"))
	if err != nil || f.System != "Linux" || f.DistributionName != "De�[31mbian" {
		t.Errorf("%v, %+v", err, f)
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"1.0.1", "1.0.2", true}, {"1.0.2", "1.0.2", false}, {"1.1", "1.0.2", false}, {"0.9.3", "1.0.2", true},
		{"1.0", "1.0.2", true}, {"5.4.0-150-generic", "5.6", true}, {"5.10.0-8", "5.6", false}, {"dev", "1", false}, {"10", "9.9", false},
	} {
		if got := older(c.a, c.b); got != c.want {
			t.Errorf("older(%s, %s) = %t", c.a, c.b, got)
		}
	}
}
