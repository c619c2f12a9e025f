package remote

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The programs that play their parts, first in the search path. ssh carries
// commands out on this machine, as a user who is not root there and whose
// .bashrc is a talkative one.
const (
	playSSH = `#!/bin/sh
echo "$@" >>"$PLAY/ssh.log"
while [ $# -gt 0 ]; do
	case $1 in
	-O) exit 0 ;;
	-G) printf 'user root\nhostname 198.51.100.1\n%s\n' "$PLAY_PROXY"; exit 0 ;;
	-o | -S | -p) shift 2 ;;
	--) shift; break ;;
	*) shift ;;
	esac
done
shift
if [ -n "$PLAY_FAILS" ]; then echo "$PLAY_FAILS" >&2; exit 255; fi
printf '\nWelcome to %s!\nlast login: never ' "$HOSTNAME"
if [ -n "$PLAY_IGNORES" ]; then exit 0; fi
SSH_CONNECTION='192.0.2.2 40000 198.51.100.1 2222' exec sh -c "$*"
`
	playID = `#!/bin/sh
case $1 in -u) echo 1000 ;; *) echo debian ;; esac
`
	// sudo as it is known: a password from the standard input up to the end
	// of the line, and an environment that is not passed on.
	playSudo = `#!/bin/sh
echo "$@" >>"$PLAY/sudo.log"
while :; do
	case $1 in
	-n) quiet=1; shift ;;
	-S) stdin=1; shift ;;
	-k) shift ;;
	-p) shift 2 ;;
	--) shift; break ;;
	*) break ;;
	esac
done
if [ -n "$PLAY_PASSWORD" ]; then
	if [ -n "$quiet" ]; then echo "sudo: a password is required" >&2; exit 1; fi
	IFS= read -r given
	if [ "$given" != "$PLAY_PASSWORD" ]; then echo "Sorry, try again." >&2; exit 1; fi
fi
unset SSH_CONNECTION
exec "$@"
`
)

// play puts the programs in place and connects.
func play(t *testing.T, password string) (*Conn, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"ssh": playSSH, "id": playID, "sudo": playSudo} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("PLAY", dir)
	t.Setenv("PLAY_PASSWORD", password)
	c, err := Connect(t.Context(), Options{Destination: "debian@vps", Port: 2222, Settings: []string{"IdentitiesOnly=yes"}, Terminal: &bytes.Buffer{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, dir
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCommandsArriveWhole(t *testing.T) {
	c, dir := play(t, "")
	if c.User() != "debian" || !c.elevate {
		t.Errorf("logged in as %q, root's commands need sudo: %t", c.User(), c.elevate)
	}
	odd := []string{"it's", "$HOME `id`", "", "a\nb", "--", "!x"}
	out, err := c.Run(t.Context(), Command{Script: `printf '<%s>' "$@"; cat`, Args: odd, Input: strings.NewReader("input")})
	if want := "<" + strings.Join(odd, "><") + ">input"; err != nil || out != want {
		t.Errorf("%v: %q, not %q", err, out, want)
	}
	log := read(t, filepath.Join(dir, "ssh.log"))
	for _, want := range []string{"-p 2222", "-o IdentitiesOnly=yes -o ControlMaster=auto", "-o BatchMode=yes", "-- debian@vps"} {
		if !strings.Contains(log, want) {
			t.Errorf("ssh is not told %q:\n%s", want, log)
		}
	}
}

func TestOnlyTheCommandsOwnWordsCount(t *testing.T) {
	c, _ := play(t, "")
	if err := c.Rise(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(context.Context, Command) (string, error){"Run": c.Run, "Root": c.Root} {
		out, err := run(t.Context(), Command{Script: "echo one; sleep 0.1; echo two; exit 3"})
		if !errors.As(err, new(*ExitError)) || out != "one\ntwo\n" {
			t.Errorf("%s: %v: %q", name, err, out)
		}
	}
	t.Setenv("PLAY_IGNORES", "yes")
	for name, run := range map[string]func(context.Context, Command) (string, error){"Run": c.Run, "Root": c.Root} {
		out, err := run(t.Context(), Command{Script: "true"})
		if err == nil || out != "" || !strings.Contains(err.Error(), "has not run the command") {
			t.Errorf("%s of a login that carries nothing out: %v: %q", name, err, out)
		}
	}
}

// The mark may come in pieces.
func TestAfterMark(t *testing.T) {
	for _, pieces := range [][]string{{"motd MARK\ntext\n"}, {"MA", "RK", "\n", "te", "xt\n"}, {"MARK MARK\ntext", "\n"}, {strings.Repeat("MAR", 40_000), "MARK", "\ntext\n"}} {
		a := &answer{mark: []byte("MARK\n")}
		for _, p := range pieces {
			if n, err := a.Write([]byte(p)); n != len(p) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if !a.begun || a.text.String() != "text\n" {
			t.Errorf("%q leaves %q", pieces, a.text.String())
		}
	}
}

func TestSudo(t *testing.T) {
	for _, password := range []string{"", "it's $ecret"} {
		c, dir := play(t, password)
		var asked int
		if err := c.Rise(t.Context(), func() (string, error) { asked++; return password, nil }); err != nil {
			t.Fatal(err)
		}
		if (asked == 1) != (password != "") {
			t.Errorf("asked %d times for %q", asked, password)
		}
		data := strings.Repeat("\x00line\n", 10000)
		out, err := c.Root(t.Context(), Command{Script: `echo "$SSH_CONNECTION"; wc -c`, Input: strings.NewReader(data)})
		if err != nil || strings.Join(strings.Fields(out), " ") != "192.0.2.2 40000 198.51.100.1 2222 60000" {
			t.Errorf("password %q: %v: %q", password, err, out)
		}
		for _, log := range []string{"ssh.log", "sudo.log"} {
			if password != "" && strings.Contains(read(t, filepath.Join(dir, log)), "ecret") {
				t.Errorf("the password is in a command line, where others can see it")
			}
		}
	}
}

func TestAWrongSudoPassword(t *testing.T) {
	c, _ := play(t, "right")
	for _, given := range []string{"wrong", ""} {
		err := c.Rise(t.Context(), func() (string, error) { return given, nil })
		if !errors.Is(err, ErrNoRoot) {
			t.Errorf("%q: %v", given, err)
		}
	}
}

func TestConnectSaysWhatSSHSays(t *testing.T) {
	play(t, "")
	for said, hint := range map[string]string{
		"root@vps: Permission denied (publickey).":                             "ssh root@vps",
		"Host key verification failed.":                                        "accept it",
		"ssh: connect to host vps port 22: Connection timed out":               "provider's firewall",
		"ssh: connect to host vps port 22: Connection refused":                 "--port",
		"ssh: Could not resolve hostname vps: Name or service not known":       "address",
		"WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key mismatch.": "provider's console",
		"something that nobody has ever seen":                                  "by hand",
	} {
		t.Setenv("PLAY_FAILS", said)
		var terminal bytes.Buffer
		_, err := Connect(t.Context(), Options{Destination: "root@vps", Terminal: &terminal})
		e, ok := errors.AsType[*Error](err)
		if !ok || !strings.Contains(e.Error(), lastLine(said)) || !strings.Contains(e.Hint, hint) {
			t.Errorf("%q: %v, hint %+v", said, err, e)
		}
		for line := range strings.Lines(said) {
			if !strings.Contains(terminal.String(), "ssh: "+strings.TrimSpace(line)+"\n") {
				t.Errorf("the owner does not see %q", line)
			}
		}
	}
}

func TestALostConnectionIsNoFailedCommand(t *testing.T) {
	c, _ := play(t, "")
	_, err := c.Run(t.Context(), Command{Script: "echo no such thing >&2; exit 3"})
	if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Status != 3 || exit.Error() != "no such thing" {
		t.Errorf("a failed command: %v", err)
	}
	t.Setenv("PLAY_FAILS", "Connection reset by peer")
	_, err = c.Run(t.Context(), Command{Script: "true"})
	if !errors.As(err, new(*LostError)) || !strings.Contains(err.Error(), "reset by peer") {
		t.Errorf("a lost connection: %v", err)
	}
}

func TestAddress(t *testing.T) {
	c, _ := play(t, "")
	for proxy, want := range map[string]bool{"": true, "proxyjump none": true, "proxyjump bastion": false, "proxycommand nc %h %p": false} {
		t.Setenv("PLAY_PROXY", proxy)
		name, direct, err := c.Address(t.Context())
		if err != nil || name != "198.51.100.1" || direct != want {
			t.Errorf("%q: %v, %s, %t", proxy, err, name, direct)
		}
	}
}

// The script says of this machine what can be checked here.
func TestLookAtThisMachine(t *testing.T) {
	c, _ := play(t, "")
	root := t.TempDir()
	for _, name := range []string{"etc/gatelodge/gate.toml", "lib/systemd/system/gatelodge.service"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := c.Look(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if f.System != "Linux" || f.Arch() == "" || f.Kernel == "" || f.UID != 1000 || f.DiskKiB <= 0 || f.StateKiB <= 0 || f.MemoryKiB <= 0 {
		t.Errorf("%+v", f)
	}
	if len(f.Roles) != 1 || f.Roles[0] != "gate" || f.Unit != "/lib/systemd/system/gatelodge.service" {
		t.Errorf("roles %q, unit %q", f.Roles, f.Unit)
	}
	if f.Connection.String() != "198.51.100.1:2222" {
		t.Errorf("the session is at %s", f.Connection)
	}
}

// A module that its owner has blacklisted is there by its own name, and not by
// the one that the kernel asks for: modprobe would then load nothing, and ends
// well all the same.
func TestLookForWireGuard(t *testing.T) {
	_, err := os.Stat("/sys/module/wireguard")
	loaded := err == nil // which counts, whatever modprobe says
	c, dir := play(t, "")
	for known, want := range map[string]bool{"wireguard": false, "rtnl-link-wireguard": true} {
		script := "#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\n[ \"$1\" != " + known + " ] || echo insmod /lib/modules/wireguard.ko\n"
		if err := os.WriteFile(filepath.Join(dir, "modprobe"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := c.Look(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if f.WireGuard != (want || loaded) {
			t.Errorf("modprobe knows %s: WireGuard %t", known, f.WireGuard)
		}
	}
}

// What only root may see is looked at as root, whose sudo may ask.
func TestLookForKeys(t *testing.T) {
	c, _ := play(t, "secret")
	if err := c.Rise(t.Context(), func() (string, error) { return "secret", nil }); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, step := range []struct{ file, states, kept string }{
		{"etc/gatelodge/installed.json", "", ""},
		{"var/lib/gatelodge/.hidden", "", "/var/lib/gatelodge"},
		{"var/lib/gatelodge/home.json.last", "home", "/var/lib/gatelodge"},
		{"var/lib/gatelodge/gate.json", "gate home", "/var/lib/gatelodge"},
		{"etc/gatelodge/notes", "gate home", "/etc/gatelodge /var/lib/gatelodge"},
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, step.file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, step.file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := c.Look(t.Context(), root+"/")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(f.States, " "); got != step.states {
			t.Errorf("with %s: keys of %q, wanted %q", step.file, got, step.states)
		}
		if got := strings.Join(f.Kept, " "); got != step.kept {
			t.Errorf("with %s: kept %q, wanted %q", step.file, got, step.kept)
		}
	}
}
