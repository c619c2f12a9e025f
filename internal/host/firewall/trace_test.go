package firewall_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// A trace is no drift, lasts while the table is loaded again in both ways, and
// leaves nothing behind.
func TestATraceLastsWhileTheTableIsLoaded(t *testing.T) {
	f, ctx := open(t), context.Background()
	inside(t, netnstest.New(t, "trace"), func() {
		must(t, f.Apply(ctx, gateWant()))
		traced := func() bool {
			return strings.Contains(shell(t, "list", "table", "inet", tableName), "meta nftrace set 1")
		}
		asWanted := func(when string, want plan.Firewall) {
			t.Helper()
			if seen := observe(t, f, want); !seen.Current || seen.Drift != nil {
				t.Errorf("%s: %+v", when, seen)
			}
		}
		end, err := f.Trace(ctx, tableName, visitors[0])
		must(t, err)
		asWanted("while it is traced", gateWant())
		if _, err := f.Trace(ctx, tableName, visitors[1]); err == nil {
			t.Error("two traces at once")
		}
		more := gateWant(toHome(1, "5000"))
		must(t, f.Apply(ctx, more)) // refills
		asWanted("after a refill", more)
		shell(t, "delete", "table", "inet", tableName)
		must(t, f.Apply(ctx, more)) // replaces
		asWanted("after a replacement", more)
		if !traced() {
			t.Error("the trace has ended with the loading of the table")
		}
		must(t, end(ctx))
		if traced() {
			t.Error("the chain is left")
		}
		asWanted("after the trace", more)
		end, err = f.Trace(ctx, tableName, visitors[2])
		must(t, err)
		shell(t, "delete", "chain", "inet", tableName, "trace_visitor")
		must(t, end(ctx)) // although somebody took it away
		asWanted("at the end", more)
	})
}

// What a crash has left of a trace is seen by the next process, and goes.
func TestATraceThatACrashLeftIsDrift(t *testing.T) {
	f, ctx := open(t), context.Background()
	inside(t, netnstest.New(t, "left"), func() {
		must(t, f.Apply(ctx, gateWant()))
		_, err := f.Trace(ctx, tableName, visitors[0])
		must(t, err)
		next, err := firewall.Open()
		must(t, err)
		if seen := observe(t, next, gateWant()); len(seen.Drift) != 1 {
			t.Errorf("it sees %+v", seen)
		}
		must(t, next.Apply(ctx, gateWant()))
		if seen := observe(t, next, gateWant()); seen.Drift != nil {
			t.Errorf("afterwards %+v", seen)
		}
	})
}
