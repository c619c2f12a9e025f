// Package netnstest runs tests inside network namespaces of their own.
package netnstest

import (
	"fmt"
	"os"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// Main is the TestMain of packages whose tests need network namespaces: it
// runs them inside. What is missing for that is a failure, never a skip.
func Main(m *testing.M) {
	status, outside, err := netns.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "netns:", err)
		os.Exit(1)
	}
	if outside {
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// New makes a namespace for one test, removed at its end.
func New(t testing.TB, name string) *netns.Namespace {
	t.Helper()
	ns, err := netns.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}
