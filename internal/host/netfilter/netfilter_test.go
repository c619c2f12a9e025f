package netfilter_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

func TestMain(m *testing.M) { netnstest.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inside runs a test in a network namespace of its own.
func inside(t *testing.T, f func()) {
	t.Helper()
	must(t, netnstest.New(t, "netfilter").Do(func() error { f(); return nil }))
}

// nft runs one document, as somebody else would.
func nft(t *testing.T, text string) {
	t.Helper()
	path, found := netfilter.Find("nft")
	if !found {
		t.Fatal("there is no nft here")
	}
	if out, err := netfilter.Run(t.Context(), path, text, "--file", "-"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestEveryTransactionIsAnotherGeneration(t *testing.T) {
	inside(t, func() {
		before, err := netfilter.Generation()
		must(t, err)
		again, err := netfilter.Generation()
		must(t, err)
		nft(t, "table inet other { }\n")
		after, err := netfilter.Generation()
		must(t, err)
		if again != before || after == before {
			t.Errorf("generations %d, %d and after a change %d", before, again, after)
		}
	})
}

func TestSteadilyReadsAgainAfterAChange(t *testing.T) {
	inside(t, func() {
		reads := 0
		at, steady, err := netfilter.Steadily(func() error {
			if reads++; reads < 3 {
				nft(t, "table inet other { }\nadd counter inet other c"+strings.Repeat("x", reads)+"\n")
			}
			return nil
		})
		must(t, err)
		now, err := netfilter.Generation()
		must(t, err)
		if reads != 3 || !steady || at != now {
			t.Errorf("%d reads, steady %t at %d, now %d", reads, steady, at, now)
		}
		reads = 0
		_, steady, err = netfilter.Steadily(func() error {
			reads++
			nft(t, "table inet other\ndelete table inet other\ntable inet other { }\n")
			return nil
		})
		if err != nil || steady || reads != 5 {
			t.Errorf("of rules that never rest: %d reads, steady %t, %v", reads, steady, err)
		}
		refused := errors.New("refused")
		if _, _, err := netfilter.Steadily(func() error { return refused }); !errors.Is(err, refused) {
			t.Errorf("a read that fails: %v", err)
		}
	})
}

func TestElementsAndRulesAreCounted(t *testing.T) {
	inside(t, func() {
		nft(t, `table inet other {
			set single { type mark; elements = { 1, 2, 3 }; }
			set ranges { type inet_service; flags interval; elements = { 1-5, 7, 9-20 }; }
			chain two { accept; drop; }
			chain none { }
		}`)
		for set, want := range map[string]int{"single": 3, "ranges": 3} {
			if n, err := netfilter.CountElements("other", set); err != nil || n != want {
				t.Errorf("set %s has %d elements, %v; want %d", set, n, err, want)
			}
		}
		if counts, err := netfilter.CountRules("other"); err != nil || len(counts) != 1 || counts["two"] != 2 {
			t.Errorf("rules %v, %v", counts, err)
		}
	})
}

func TestAFlowIsReadWhole(t *testing.T) {
	inside(t, func() {
		must(t, raiseLoopback())
		nft(t, "table inet other { chain c { type filter hook output priority 0; udp dport 7000 ct mark set 0x60000001; }; }\n")
		c, err := net.Dial("udp", "127.0.0.1:7000")
		must(t, err)
		defer c.Close()
		_, err = c.Write([]byte("?"))
		must(t, err)
		from := c.LocalAddr().(*net.UDPAddr).AddrPort()
		found := flows(t, 0x60000001, 0xffffffff)
		if len(found) != 1 {
			t.Fatalf("found %d flows", len(found))
		}
		f := found[0]
		if f.Src != from.Addr() || f.From != from.Port() || f.Dst != from.Addr() || f.Port.String() != "7000/udp" || f.Mark != 0x60000001 || f.Answered {
			t.Errorf("read %+v", f)
		}
		conn, err := netfilter.Dial()
		must(t, err)
		defer conn.Close()
		if netfilter.DeleteMarked(conn, 0, 0xf) == nil || netfilter.DeleteMarked(conn, 1, 0) == nil {
			t.Error("it deletes every connection there is")
		}
		must(t, netfilter.DeleteMarked(conn, 0x60000002, 0xffffffff))
		if len(flows(t, 0x60000001, 0xffffffff)) != 1 {
			t.Error("the flow of another mark is gone")
		}
		must(t, f.Delete(conn))
		must(t, f.Delete(conn)) // which has ended by now
		if left := flows(t, 0x60000001, 0xffffffff); len(left) > 0 {
			t.Errorf("left are %+v", left)
		}
	})
}

func flows(t *testing.T, mark, mask uint32) []netfilter.Flow {
	t.Helper()
	conn, err := netfilter.Dial()
	must(t, err)
	defer conn.Close()
	var list []netfilter.Flow
	must(t, netfilter.EachFlow(conn, mark, mask, func(f netfilter.Flow) { list = append(list, f) }))
	return list
}

func raiseLoopback() error {
	_, err := netfilter.Output(context.Background(), "ip", "link", "set", "lo", "up")
	return err
}

func TestWhatAProgramSays(t *testing.T) {
	sh, found := netfilter.Find("sh")
	if !found {
		t.Fatal("there is no sh here")
	}
	if out, err := netfilter.Run(t.Context(), sh, "echo one; echo two >&2; exit 3"); strings.Count(out, "\n") != 2 {
		t.Errorf("it printed %q, %v", out, err)
	} else if code, failed := netfilter.ExitCode(err); code != 3 || !failed {
		t.Errorf("it failed with %d, %t", code, failed)
	}
	if out, err := netfilter.Run(t.Context(), sh, "yes | head -c 100000"); err != nil || len(out) != 16<<10 {
		t.Errorf("kept are %d bytes, %v", len(out), err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := netfilter.Run(ended, sh, "exit 0"); !errors.Is(err, context.Canceled) {
		t.Errorf("after its time: %v", err)
	}
	if _, err := netfilter.Output(t.Context(), "sh", "-c", "echo no >&2; exit 1"); err == nil || !strings.HasSuffix(err.Error(), ": no") {
		t.Errorf("its complaint is not told: %v", err)
	}
	if _, err := netfilter.Output(t.Context(), "no-such-program"); err == nil {
		t.Error("a program that is not there has run")
	} else if _, failed := netfilter.ExitCode(err); failed {
		t.Error("a program that is not there has failed")
	}
}
