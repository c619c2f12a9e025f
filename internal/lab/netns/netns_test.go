package netns_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

func TestMain(m *testing.M) { netnstest.Main(m) }

func TestDoStaysInsideTheNamespace(t *testing.T) {
	a, b := netnstest.New(t, "a"), netnstest.New(t, "b")
	listen := func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:7000") }
	var l net.Listener
	if err := a.Do(func() (err error) { l, err = listen(); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := b.Do(func() error {
		other, err := listen()
		if err != nil {
			return err
		}
		return other.Close()
	}); err != nil {
		t.Errorf("namespace b sees the listener of a: %v", err)
	}
	if err := a.Do(func() error {
		c, err := net.Dial("tcp", "127.0.0.1:7000")
		if err != nil {
			return err
		}
		return c.Close()
	}); err != nil {
		t.Errorf("namespace a does not see its own listener: %v", err)
	}
}

func TestProgramsRunOutsideTheMachinesNetwork(t *testing.T) {
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Attrs().Name != "lo" && l.Type() == "device" {
			t.Errorf("the test sees the machine's own interface %s", l.Attrs().Name)
		}
	}
}

func TestOrphansAreReaped(t *testing.T) {
	// The shell ends before its child, which nobody waits for then.
	pid, err := exec.Command("sh", "-c", "sleep 0.01 >/dev/null & echo $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	orphan := "/proc/" + strings.TrimSpace(string(pid))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for {
		if _, err := os.Stat(orphan); os.IsNotExist(err) {
			return
		}
		select {
		case <-deadline:
			status, err := os.ReadFile(orphan + "/status")
			t.Fatalf("the orphan is still there: %s %v", status, err)
		case <-tick.C:
		}
	}
}

func TestTheProcessesOfOutsideAreHidden(t *testing.T) {
	if first, err := os.Readlink("/proc/1/exe"); err != nil {
		t.Error(err)
	} else if self, err := os.Executable(); err != nil || first != self {
		t.Errorf("the first process runs %s, not this program %s: %v", first, self, err)
	}
}
