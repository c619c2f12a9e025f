package host

import (
	"os"
	"testing"
)

func TestTheParentOfAProcess(t *testing.T) {
	if got := parent(os.Getpid()); got != os.Getppid() {
		t.Errorf("%d, not %d", got, os.Getppid())
	}
	if got := parent(-1); got != 0 {
		t.Errorf("of none: %d", got)
	}
}

// A session without ssh says so by an empty variable, and is believed.
func TestASessionThatIsNoneOfSSH(t *testing.T) {
	for _, value := range []string{"", "192.0.2.2 40000 198.51.100.1 22"} {
		t.Setenv("SSH_CONNECTION", value)
		if got := SSHConnection(); got != value {
			t.Errorf("%q, not %q", got, value)
		}
	}
}

func TestTheClientOfASession(t *testing.T) {
	for value, want := range map[string]string{
		"": "invalid AddrPort", "192.0.2.2 40000 198.51.100.1 22": "192.0.2.2:40000",
		"::ffff:192.0.2.2 40000 ::1 22": "192.0.2.2:40000", "fe80::1%eth0 40000 fe80::2 22": "[fe80::1]:40000",
	} {
		if got, err := SSHClient(value); err != nil || got.String() != want {
			t.Errorf("%q: %v, %v", value, got, err)
		}
	}
	for _, value := range []string{"192.0.2.2", "192.0.2.2 port 198.51.100.1 22", "x 1 y 2", "192.0.2.2 70000 198.51.100.1 22"} {
		if got, err := SSHClient(value); err == nil {
			t.Errorf("%q is taken for %v", value, got)
		}
	}
}
