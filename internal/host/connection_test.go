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
