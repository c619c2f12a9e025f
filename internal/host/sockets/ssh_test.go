package sockets

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

func TestSSHPortsOfThisMachine(t *testing.T) {
	ns := netnstest.New(t, "host")
	listenAs(t, ns, "sshd", "0.0.0.0:2022")
	listenAs(t, ns, "sshd", "127.0.0.1:2023") // not for others
	listenAs(t, ns, "dropbear", "[::]:2024")
	listenAs(t, ns, "nginx", "0.0.0.0:22")
	listenAsNobody(t, ns, "sshd", "0.0.0.0:31337") // a process with any name
	listenAsNobody(t, ns, "systemd", "0.0.0.0:2028")
	elsewhere := netnstest.New(t, "container")
	listenAs(t, elsewhere, "sshd", "0.0.0.0:2029")
	keepSocketInFlight(t, ns, "0.0.0.0:2026") // nobody's, as far as one sees
	keepSocketInFlight(t, ns, "0.0.0.0:2027")
	root := tree(t, map[string]string{"etc/ssh/sshd_config": "Port 22\nPort 2026\nPort 2028\n"})
	var got []uint16
	within(t, ns, func() (err error) {
		got, err = sshPortsWith(root, "203.0.113.10 55123 198.51.100.2 2025")
		return err
	})
	// 2028 is the port of an sshd that is yet to come.
	if want := []uint16{22, 2022, 2024, 2025, 2026, 2028}; !slices.Equal(got, want) {
		t.Errorf("ssh ports %v, want %v", got, want)
	}
}

func TestRootPorts(t *testing.T) {
	ns := netnstest.New(t, "host")
	listenAs(t, ns, "sshd", "0.0.0.0:2022")
	listenAs(t, ns, "nginx", "[::]:80")
	listenAs(t, ns, "local", "127.0.0.1:2023")
	listenAs(t, ns, "local6", "[::1]:2024")
	listenAsNobody(t, ns, "sshd", "0.0.0.0:31337")
	var got []uint16
	within(t, ns, func() (err error) { got, err = RootPorts(); return err })
	if want := []uint16{80, 2022}; !slices.Equal(got, want) {
		t.Errorf("root's ports %v, want %v", got, want)
	}
}

func BenchmarkRootPorts(b *testing.B) {
	ns := netnstest.New(b, "host")
	listenAs(b, ns, "sshd", "0.0.0.0:2022")
	within(b, ns, func() error {
		for b.Loop() {
			if _, err := RootPorts(); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestSSHPorts(t *testing.T) {
	tcp := func(port uint16, uid uint32, process, unit string) Listener {
		return Listener{forward.TCP, netip.IPv4Unspecified(), port, uid, process, unit}
	}
	local := tcp(22, 0, "systemd", "")
	local.Addr = addr("127.0.0.1")
	udp := tcp(22, 0, "sshd", "")
	udp.Protocol = forward.UDP
	for _, tt := range []struct {
		name     string
		listener Listener // on port 22, which an ssh server is known by, or on 23
		isSSH    bool
	}{
		{"sshd", tcp(23, 0, "sshd", ""), true},
		{"sshd of a user", tcp(23, 1000, "sshd", ""), false},
		{"sshd of a user on the port", tcp(22, 1000, "sshd", ""), false},
		{"sshd-session of a user", tcp(22, 1000, "sshd-session", ""), false},
		{"dropbear of a user", tcp(22, 1000, "dropbear", ""), false},
		{"systemd of a user", tcp(22, 1000, "systemd", "user@1000.service"), false},
		{"a process that is called almost so", tcp(23, 0, "sshd\ufffd", ""), false},
		{"sshd-session", tcp(23, 0, "sshd-session", ""), true},
		{"dropbear", tcp(23, 0, "dropbear", ""), true},
		{"systemd for ssh.socket", tcp(22, 0, "systemd", ""), true},
		{"systemd for another service", tcp(23, 0, "systemd", ""), false},
		{"another service on the port", tcp(22, 0, "nginx", ""), false},
		{"hidden sshd", tcp(23, 0, "", "ssh.service"), true},
		{"hidden sshd of Fedora", tcp(23, 0, "", "sshd.service"), true},
		{"hidden sshd, an instance", tcp(23, 0, "", "sshd@3.service"), true},
		{"hidden dropbear", tcp(23, 0, "", "dropbear.service"), true},
		{"a user's service of that name", tcp(22, 1000, "", "ssh.service"), false},
		{"hidden sshd started by hand", tcp(22, 0, "", "session-3.scope"), true},
		{"another hidden service elsewhere", tcp(23, 0, "", "nginx.service"), false},
		{"hidden systemd for ssh.socket", tcp(22, 0, "", "init.scope"), true},
		{"hidden systemd for another", tcp(23, 0, "", "init.scope"), false},
		{"unknown process of root's on the port", tcp(22, 0, "", ""), true},
		{"unknown process of root's elsewhere", tcp(23, 0, "", ""), false},
		{"unknown process of a user on the port", tcp(22, 1000, "", ""), false},
		{"for this machine alone", local, false},
		{"UDP", udp, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var want []uint16
			if tt.isSSH {
				want = []uint16{tt.listener.Port}
			}
			if got := sshPorts([]Listener{tt.listener}, sshFiles{}, ""); !slices.Equal(got, want) {
				t.Errorf("ssh ports %v, want %v", got, want)
			}
		})
	}
	if got := sshPorts(nil, sshFiles{}, ""); len(got) > 0 {
		t.Errorf("where nobody listens, and no ssh server is set up: %v", got)
	}
	if got := sshPorts(nil, sshFiles{explicit: []uint16{2222}, enabled: []uint16{2200}, units: []uint16{22}}, ""); !slices.Equal(got, []uint16{2200, 2222}) {
		t.Errorf("where nobody listens yet: %v", got)
	}
}

func TestSessionPort(t *testing.T) {
	for text, want := range map[string]uint16{
		"203.0.113.10 55123 198.51.100.2 22":    22,
		"2001:db8::1 55123 2001:db8::2 65535":   65535,
		"":                                      0,
		"22":                                    0,
		"203.0.113.10 55123 198.51.100.2":       0,
		"203.0.113.10 55123 198.51.100.2 22 x":  0,
		"203.0.113.10 55123 198.51.100.2 ssh":   0,
		"203.0.113.10 55123 198.51.100.2 -1":    0,
		"203.0.113.10 55123 198.51.100.2 65536": 0,
		"203.0.113.10 55123 198.51.100.2 0":     0,
		"\x00 \x00 \x00 \x00":                   0,
	} {
		got := sshPorts(nil, sshFiles{}, text)
		if want == 0 && len(got) > 0 || want != 0 && !slices.Equal(got, []uint16{want}) {
			t.Errorf("%q gives the ports %v, not %d", text, got, want)
		}
	}
}

// tree makes files below a folder that stands for a machine's root.
func tree(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o700))
		must(t, os.WriteFile(name, []byte(text), 0o600))
	}
	return root
}

// The ports at which an ssh server is to listen, and beside them those by which
// one is known that does.
func TestPortsOfSSHFiles(t *testing.T) {
	const socket = "[Socket]\nListenStream=22\n"
	for _, tt := range []struct {
		name   string
		files  map[string]string
		wanted []uint16
		known  []uint16
	}{
		{"no file", nil, nil, []uint16{22}},
		{"default", map[string]string{"etc/ssh/sshd_config": "#Port 2222\nPermitRootLogin no\n"}, []uint16{22}, nil},
		{"empty", map[string]string{"etc/ssh/sshd_config": ""}, []uint16{22}, nil},
		{"every way to write it", map[string]string{
			"etc/ssh/sshd_config": "# Port 1\nPort 2222\n\tport  2223 # x\nPort=2224\nPort = 2225\nPort \"2226\"\nPort ssh\nPort\nPortal 5\nPort 70000\nPort 0\n",
		}, []uint16{2222, 2223, 2224, 2225, 2226}, nil},
		{"ListenAddress", map[string]string{
			"etc/ssh/sshd_config": "ListenAddress 192.0.2.1\nListenAddress 192.0.2.1:2022\nListenAddress [2001:db8::1]:2023 rdomain mgmt\nListenAddress host:2024\nListenAddress ::\nListenAddress 2001:db8::2025\n",
		}, []uint16{2022, 2023, 2024}, nil},
		{"Include", map[string]string{
			"etc/ssh/sshd_config":          "Include /etc/ssh/sshd_config.d/*.conf more \"/etc/other/*\"\nPort 2222\n",
			"etc/ssh/sshd_config.d/a.conf": "PORT 2226",
			"etc/ssh/sshd_config.d/b.txt":  "Port 1",
			"etc/ssh/more":                 "Port 2227",
			"etc/other/file":               "Port 2228",
		}, []uint16{2222, 2226, 2227, 2228}, nil},
		{"a file that includes itself", map[string]string{"etc/ssh/sshd_config": "Port 2222\nInclude sshd_config\n"}, []uint16{2222}, nil},
		{"a pattern that is none", map[string]string{"etc/ssh/sshd_config": "Include [\nPort 2222\n"}, []uint16{2222}, nil},
		{"a unit that nobody has enabled, as Debian has it", map[string]string{
			"etc/ssh/sshd_config": "Port 2222\n", "usr/lib/systemd/system/ssh.socket": socket,
		}, []uint16{2222}, []uint16{22, 2222}},
		{"a unit that is enabled", map[string]string{
			"etc/ssh/sshd_config": "", "usr/lib/systemd/system/ssh.socket": socket, "etc/systemd/system/sockets.target.wants/ssh.socket": socket,
			"etc/systemd/system/ssh.socket.d/override.conf": "[Socket]\nListenStream=\nListenStream=0.0.0.0:2031\nListenStream=[::]:2032\n",
		}, []uint16{2031, 2032}, []uint16{22, 2031, 2032}},
		{"a unit that its service requires, with ports of a generator, as Ubuntu has it", map[string]string{
			"etc/ssh/sshd_config": "Port 2033\n", "usr/lib/systemd/system/ssh.socket": socket, "etc/systemd/system/ssh.service.requires/ssh.socket": socket,
			"run/systemd/generator/ssh.socket.d/addresses.conf": "[Socket]\nListenStream=\nListenStream=2033\n",
		}, []uint16{2033}, []uint16{22, 2033}},
		{"files that override others", map[string]string{
			"usr/lib/systemd/system/sshd.socket": socket, "etc/systemd/system/sshd.socket": "[Socket]\nListenStream=2034\n",
			"usr/lib/systemd/system/sshd.socket.d/a.conf": "ListenStream=2035", "etc/systemd/system/sshd.socket.d/a.conf": "ListenStream = 2036",
			"etc/systemd/system/sockets.target.wants/sshd.socket": "",
		}, []uint16{2034, 2036}, []uint16{22, 2034, 2035, 2036}},
		{"what is no port of ours", map[string]string{
			"etc/systemd/system/sshd.socket":                      "[Socket]\nListenStream=/run/ssh\nListenStream=vsock::22\n#ListenStream=1\nListenDatagram=2\nListenStream=2037\n",
			"etc/systemd/system/sockets.target.wants/sshd.socket": "", "etc/systemd/system/ssh.socket.d/notes.txt": "ListenStream=3",
			"etc/systemd/system/cups.socket": "[Socket]\nListenStream=631\n", "etc/systemd/system/sockets.target.wants/cups.socket": "",
		}, []uint16{2037}, []uint16{22, 2037}},
		{"options", map[string]string{
			"etc/default/ssh": "SSHD_OPTS=\"-p 2040 -o Port=2041\"\n# -p 1\n", "etc/conf.d/sshd": "SSHD_OPTS='-oPort=2042 -p2043'\n",
			"etc/default/dropbear":                    "#NO_START=0\nDROPBEAR_PORT=2044\nDROPBEAR_EXTRA_ARGS=\"-w -p 192.0.2.1:2045 -p [::]:2046\"\n",
			"etc/config/dropbear":                     "config dropbear\n\toption PasswordAuth 'on'\n\toption Port '2047'\n",
			"etc/systemd/system/ssh.service.d/x.conf": "[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -p 2048 $SSHD_OPTS\n",
		}, []uint16{2040, 2041, 2042, 2043, 2044, 2045, 2046, 2047, 2048}, nil},
		{"dropbear that is told nothing", map[string]string{"etc/default/dropbear": "#DROPBEAR_PORT=22\n"}, []uint16{22}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := readSSHFiles(tree(t, tt.files))
			must(t, err)
			if got := f.wanted(); !slices.Equal(got, tt.wanted) {
				t.Errorf("wanted %v, not %v", got, tt.wanted)
			}
			if tt.known == nil {
				tt.known = tt.wanted
			}
			if got := f.named(); !slices.Equal(got, tt.known) {
				t.Errorf("known by %v, not %v", got, tt.known)
			}
		})
	}
}
