package sockets

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

// listenEnv makes the test program one that listens, for the tests that look
// for listeners: its value is the address.
const listenEnv = "GATELODGE_TEST_LISTEN"

// listenUserEnv has it do so as another user than root.
const listenUserEnv = "GATELODGE_TEST_LISTEN_USER"

// nobody is the number of a user who is not root.
const nobody = 65534

func TestMain(m *testing.M) {
	if at := os.Getenv(listenEnv); at != "" {
		if err := listen(at); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	netnstest.Main(m)
}

// listen accepts connections at the address until standard input ends. It
// says when it is ready. A listener at 0.0.0.0 is one for IPv4 alone: Go's
// "tcp" would make it one for both families.
func listen(at string) error {
	if user, err := strconv.Atoi(os.Getenv(listenUserEnv)); err == nil {
		if err := syscall.Setuid(user); err != nil {
			return err
		}
	}
	network := "tcp6"
	if strings.Contains(at, ".") {
		network = "tcp4"
	}
	l, err := net.Listen(network, at)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, l.Close())
}

// listenAs runs a program of that name which listens in the namespace.
func listenAs(t testing.TB, ns *netns.Namespace, name, at string) {
	t.Helper()
	listenAsUser(t, ns, 0, name, at)
}

// listenAsNobody is listenAs for a user who is not root. Tests that root has not
// started have no other user in their namespace, and do without.
func listenAsNobody(t testing.TB, ns *netns.Namespace, name, at string) {
	t.Helper()
	mapped, err := os.ReadFile("/proc/self/uid_map")
	must(t, err)
	if fields := strings.Fields(string(mapped)); len(fields) < 3 || fields[2] != "1" {
		listenAsUser(t, ns, nobody, name, at)
	}
}

func listenAsUser(t testing.TB, ns *netns.Namespace, user int, name, at string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	must(t, os.Symlink("/proc/self/exe", program))
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), listenEnv+"="+at, listenUserEnv+"="+strconv.Itoa(user))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, ns.Do(cmd.Start))
	t.Cleanup(func() {
		must(t, stdin.Close())
		must(t, cmd.Wait())
	})
	said := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(stdout, said); err != nil || string(said) != "ready\n" {
		t.Fatalf("%s does not listen: %q, %v", name, said, err)
	}
}

// within runs a test's steps in a namespace. They must not end the test.
func within(t testing.TB, ns *netns.Namespace, f func() error) {
	t.Helper()
	must(t, ns.Do(f))
}

// ip runs the lines as commands of ip(8).
func ip(t testing.TB, ns *netns.Namespace, lines string) {
	t.Helper()
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	within(t, ns, func() error {
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ip: %w\n%s", err, text)
		}
		return nil
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
