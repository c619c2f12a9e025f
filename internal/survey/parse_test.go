package survey

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// shown reports whether a text can be shown on a terminal.
func shown(text string) bool {
	return utf8.ValidString(text) && len(text) <= 4000 && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

func TestLookIsBounded(t *testing.T) {
	for name, lines := range map[string]string{
		"firewalls": strings.Repeat("firewall=x\n", 1000), "addresses": strings.Repeat("address=192.0.2.1\n", 1000),
		"lines": strings.Repeat("=\n", 1<<20), "errors": strings.Repeat("address=x\n", 40_000),
	} {
		f, err := Parse("look=1\n" + lines + "done=1\n")
		if err == nil || !shown(err.Error()) {
			t.Errorf("%s: %v", name, err)
		}
		if len(f.Firewalls) > maxWords || len(f.Addresses) > maxWords {
			t.Errorf("%s are kept", name)
		}
	}
	var ports strings.Builder
	for port := range 40_000 {
		fmt.Fprintf(&ports, "listen=tcp *:%d users:((\"x\x1b[2J\u202e\",pid=1,fd=3))\n", port+1)
	}
	f, err := Parse("look=1\nversion=" + strings.Repeat("\x1b", 1<<20) + "\n" + ports.String() + "done=1\n")
	if err != nil || len(f.Listeners) != maxListeners || !shown(f.Version) || !shown(f.Listeners[0].Process) {
		t.Errorf("%v: %d ports, the first one %q's", err, len(f.Listeners), f.Listeners[0].Process)
	}
	var v Verdict
	v.noteClosing(f, Wish{})
	if len(v.Notes) > maxTold+1 {
		t.Errorf("%d notes", len(v.Notes))
	}
}

func TestListeners(t *testing.T) {
	f, err := Parse("look=1\nlisten=udp [fe80::1]%eth0:546 users:((\"dhcp\",pid=1,fd=2))\nlisten=tcp *:80\nlisten=tcp [::ffff:127.0.0.1]:25\n" +
		"socket=tcp 0100007F:1F90 0A\nsocket=tcp 0100007F:1F91 01\nsocket=udp6 00000000000000000000000000000000:D743 07\ndone=1\n")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range f.Listeners {
		got = append(got, l.Service()+" "+l.Addr.String()+" "+l.Process)
	}
	want := "546/udp fe80::1 dhcp, 80/tcp :: , 25/tcp 127.0.0.1 , 8080/tcp 127.0.0.1 , 55107/udp :: "
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("%s, not %s", text, want)
	}
	for _, bad := range []string{"listen=tcp nowhere", "listen=tcp *:x", "socket=tcp ZZ:1 0A", "address=x"} {
		if _, err := Parse("look=1\n" + bad + "\ndone=1\n"); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// The name of a process says nothing without its user.
func TestASSHDOfAUserIsNone(t *testing.T) {
	for line, want := range map[string]bool{
		`tcp *:2022 users:(("sshd",pid=1,fd=2)) ino:7 sk:1 cgroup:/system.slice/ssh.service v6only:0 <->`: true,
		`tcp *:2022 users:(("sshd",pid=1,fd=2)) uid:1000 ino:7 sk:1`:                                      false,
		`tcp *:2022 users:(("sshd")) uid:0 ",pid=1,fd=2)) uid:1000 ino:7`:                                 false,
		`tcp *:2022 users:(("sshd",pid=1,fd=2))`:                                                          true, // an older ss
		`tcp *:2022 uid:1000 ino:7`:                                                                       false,
	} {
		f, err := Parse("look=1\nlisten=" + line + "\ndone=1\n")
		if err != nil || len(f.Listeners) != 1 || f.ofSSH(f.Listeners[0]) != want {
			t.Errorf("%s: %v, %+v", line, err, f.Listeners)
		}
	}
}
