package reconcile

import (
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

// The rules of others are read from the kernel, in a namespace of their own.
func TestMain(m *testing.M) { netnstest.Main(m) }
