package systemd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listener is the service manager's, or the journal's, end of a socket.
type listener struct {
	*net.UnixConn
}

func listen(t *testing.T, name string) listener {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // some tests have closed it
	return listener{l}
}

// next returns the next datagram, with the descriptors that came along.
func (l listener) next(t *testing.T) (string, []int) {
	t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	data, oob := make([]byte, 1<<20), make([]byte, 1024)
	n, oobn, _, _, err := l.ReadMsgUnix(data, oob)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	var files []int
	for _, m := range messages {
		rights, err := unix.ParseUnixRights(&m)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, rights...)
	}
	return string(data[:n]), files
}

func (l listener) wants(t *testing.T, want string) {
	t.Helper()
	if got, _ := l.next(t); got != want {
		t.Errorf("systemd hears %q, wanted %q", got, want)
	}
}

// serve is a process that systemd has started with a notification socket.
func serve(t *testing.T, socket string) *Service {
	t.Helper()
	t.Setenv("NOTIFY_SOCKET", socket)
	s, err := FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNotifications(t *testing.T) {
	abstract := fmt.Sprintf("@gatelodge-test-%d", os.Getpid())
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), abstract} {
		l := listen(t, name)
		s := serve(t, name)
		for _, c := range []struct {
			err  error
			want string
		}{
			{s.Ready(), "READY=1"},
			{s.Stopping(), "STOPPING=1"},
			{s.Alive(), "WATCHDOG=1"},
			{s.Status("tunnel up, 3 forwards"), "STATUS=tunnel up, 3 forwards"},
			{s.Status("one\nREADY=1"), "STATUS=one"},
			{s.ExtendStart(30 * time.Second), "EXTEND_TIMEOUT_USEC=30000000"},
			{s.ForgetFile("tun"), "FDSTOREREMOVE=1\nFDNAME=tun"},
		} {
			if c.err != nil {
				t.Error(c.err)
			}
			l.wants(t, c.want)
		}
		if err := s.Reloading(); err != nil {
			t.Error(err)
		}
		said, _ := l.next(t)
		usec, found := strings.CutPrefix(said, "RELOADING=1\nMONOTONIC_USEC=")
		if n, err := strconv.ParseUint(usec, 10, 64); !found || err != nil || n == 0 {
			t.Errorf("a reload is said as %q", said)
		}
	}
}

func TestOutsideOfSystemdNothingIsSaid(t *testing.T) {
	outside := serve(t, "")
	var none *Service
	for _, s := range []*Service{outside, none} {
		if s.Present() || s.Watchdog() != 0 {
			t.Error("there seems to be a service manager")
		}
		file, err := s.TakeFile("tun")
		if file != nil || err != nil {
			t.Errorf("TakeFile: %v, %v", file, err)
		}
		for _, err := range []error{s.Ready(), s.Alive(), s.Status("x"), s.KeepFile("tun", os.Stdin)} {
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// A service manager that is not there, or is gone, is an error and not a
// hang; one that is there again is found again.
func TestAServiceManagerThatRestarts(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	s := serve(t, name)
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("nobody listens, and the error is %v", err)
	}
	for range 2 {
		l := listen(t, name)
		if err := s.Ready(); err != nil {
			t.Error(err)
		}
		l.wants(t, "READY=1")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// A listener that no longer reads holds us up for a moment only.
func TestAServiceManagerThatHangs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	listen(t, name)
	s := serve(t, name)
	began := time.Now()
	var err error
	for err == nil {
		err = s.Alive()
	}
	if took := time.Since(began); took > 5*sendTime {
		t.Errorf("it took %s to give up", took)
	}
}

func TestTheEnvironmentIsTaken(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_PID", "1") // somebody else's
	t.Setenv("LISTEN_FDNAMES", "tun")
	s := serve(t, filepath.Join(t.TempDir(), "notify"))
	if s.Watchdog() != 30*time.Second {
		t.Errorf("the watchdog waits for %s", s.Watchdog())
	}
	if file, err := s.TakeFile("tun"); file != nil || err != nil {
		t.Errorf("took the descriptor of another process: %v, %v", file, err)
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		if _, there := os.LookupEnv(name); there {
			t.Errorf("%s is still there for programs that we start", name)
		}
	}
}

func TestAnEnvironmentThatIsWrong(t *testing.T) {
	for name, value := range map[string]string{"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "soon"} {
		t.Setenv(name, value)
		s, err := FromEnvironment()
		if err == nil || !strings.Contains(err.Error(), value) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
		if s.Present() || s.Watchdog() != 0 {
			t.Errorf("%s=%s is used", name, value)
		}
	}
	if d, err := parseWatchdog("1000", "1"); d != 0 || err != nil {
		t.Errorf("another process's watchdog: %s, %v", d, err)
	}
	if _, err := inherit(firstFile, strconv.Itoa(os.Getpid()), "many", ""); err == nil {
		t.Error("LISTEN_FDS=many is taken")
	}
}

// A descriptor goes to the service manager and comes back to the next process.
func TestADescriptorOutlivesTheProcess(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	l := listen(t, name)
	s := serve(t, name)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() // below it is a number, which does not keep it open
	if err := s.KeepFile("tun", w); err != nil {
		t.Fatal(err)
	}
	l.wants(t, "FDSTOREREMOVE=1\nFDNAME=tun")
	said, kept := l.next(t)
	if said != "FDSTORE=1\nFDNAME=tun" || len(kept) != 1 {
		t.Fatalf("systemd hears %q with %d descriptors", said, len(kept))
	}
	defer unix.Close(kept[0])
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	// The next process finds it among others, above the numbers in use here.
	const first = 200
	for i, from := range []int{int(r.Fd()), int(r.Fd()), kept[0]} {
		if err := unix.Dup3(from, first+i, 0); err != nil {
			t.Fatal(err)
		}
	}
	files, err := inherit(first, strconv.Itoa(os.Getpid()), "3", "other:tun:tun")
	if err != nil {
		t.Fatal(err)
	}
	next := &Service{files: files}
	tun, err := next.TakeFile("tun")
	if err != nil || tun == nil || int(tun.Fd()) != first+2 {
		t.Fatalf("took %v, %v; wanted the youngest", tun, err)
	}
	defer tun.Close()
	if flags, err := unix.FcntlInt(tun.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("programs that we start would get it: %x, %v", flags, err)
	}
	if _, err := unix.FcntlInt(first+1, unix.F_GETFD, 0); err == nil {
		t.Error("the elder one is still open")
	}
	if again, err := next.TakeFile("tun"); again != nil || err != nil {
		t.Errorf("took it twice: %v, %v", again, err)
	}
	other, err := next.TakeFile("other")
	if other == nil || err != nil {
		t.Fatalf("the other one: %v, %v", other, err)
	}
	defer other.Close()
	if _, err := tun.WriteString("still open"); err != nil {
		t.Error(err)
	}
}

func TestDescriptorsWithoutAName(t *testing.T) {
	for i, want := range []string{"a", "unknown", "unknown"} {
		if got := nameAt([]string{"a", ""}, i); got != want {
			t.Errorf("descriptor %d is %q, wanted %q", i, got, want)
		}
	}
}
