package control

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/key"
)

// way is the way from one home to a gate, in memory.
type way struct {
	net.PacketConn // the gate's end; nothing else of it is called
	home           netip.AddrPort
	toGate, toHome chan []byte
	closed         chan struct{}
	lost           func(message []byte) bool // nil: none is
}

func newWay() *way {
	return &way{
		home:   netip.MustParseAddrPort("10.99.0.2:50000"),
		toGate: make(chan []byte, 100), toHome: make(chan []byte, 100), closed: make(chan struct{}),
		lost: func([]byte) bool { return false },
	}
}

func (w *way) Send(message []byte) error {
	if !w.lost(message) {
		w.toGate <- bytes.Clone(message)
	}
	return nil
}

func (w *way) Receive(ctx context.Context) ([]byte, error) {
	select {
	case message := <-w.toHome:
		return message, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *way) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case message := <-w.toGate:
		return copy(b, message), net.UDPAddrFromAddrPort(w.home), nil
	case <-w.closed:
		return 0, nil, net.ErrClosed
	}
}

func (w *way) WriteTo(b []byte, _ net.Addr) (int, error) {
	if !w.lost(b) {
		w.toHome <- bytes.Clone(b)
	}
	return len(b), nil
}

func (w *way) Close() error { close(w.closed); return nil }

// enrolBy asks a gate for a place, as join does.
func enrolBy(t *testing.T, w *way) (EnrolResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 17*time.Second)
	defer cancel()
	return Enrol(ctx, w, newSecret(t), key.Public{1})
}

func isInvite(message []byte) bool { return bytes.HasPrefix(message, []byte(datagramMagic)) }

// Whatever is lost on the way, and however long the gate takes, the home gets its
// place, and the gate is asked for it once at a time.
func TestEnrolByDatagrams(t *testing.T) {
	var seen atomic.Int32 // both ways ask
	first := func(message []byte) bool { return seen.Add(1) <= 1 && isInvite(message) }
	for name, c := range map[string]struct {
		lost func([]byte) bool
		slow time.Duration
		asks int
		took time.Duration
	}{
		"at once":                     {func([]byte) bool { return false }, 0, 1, 0},
		"the question is lost":        {first, 0, 1, time.Second},
		"the answer is lost":          {func(m []byte) bool { return isInvite(m) && m[datagramKind] != datagramAsk && first(m) }, 0, 2, time.Second},
		"the gate takes five seconds": {func([]byte) bool { return false }, 5*time.Second - time.Millisecond, 1, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen.Store(0)
				gate, w := &fakeGate{hook: func() { time.Sleep(c.slow) }}, newWay()
				w.lost = c.lost
				run(t, func(ctx context.Context) error {
					return NewServer(gate, quiet()).ServeDatagrams(ctx, w, ping.NewRuns())
				})
				start := time.Now()
				place, err := enrolBy(t, w)
				if diff := cmp.Diff(enrolled(), place, compareAddrs); err != nil || diff != "" {
					t.Errorf("%v %s", err, diff)
				}
				if gate.enrols != c.asks || time.Since(start).Round(time.Second) != c.took {
					t.Errorf("the gate was asked %d times in %v, not %d in %v", gate.enrols, time.Since(start), c.asks, c.took)
				}
				if gate.from != w.home.Addr() {
					t.Errorf("the gate saw %v", gate.from)
				}
			})
		})
	}
}

// What a gate refuses is told as by HTTP, and what fails in it stays there.
func TestEnrolmentsRefusedByDatagram(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"refused":  {refuse(UsedInvite, "the invite is used"), &Error{UsedInvite, "the invite is used"}},
		"failed":   {errors.New("/var/lib/secret is full"), &Error{Code: Internal}},
		"long":     {refuse(Full, "%s", strings.Repeat("x", maxDatagram)), &Error{Code: TooLarge}},
		"no sense": {refuse("", "nothing"), &Error{Code: BadAnswer}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWay()
				run(t, func(ctx context.Context) error {
					return NewServer(&fakeGate{err: c.err}, quiet()).ServeDatagrams(ctx, w, ping.NewRuns())
				})
				_, err := enrolBy(t, w)
				if !errors.Is(err, c.want) || strings.Contains(err.Error(), "/var/lib") {
					t.Errorf("%v, not %v", err, c.want)
				}
			})
		})
	}
}

// A gate that panics goes on.
func TestAGatePanicsOnAnInvite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, w := &fakeGate{}, newWay()
		gate.hook = func() {
			if gate.enrols == 1 {
				panic("once")
			}
		}
		run(t, func(ctx context.Context) error {
			return NewServer(gate, quiet()).ServeDatagrams(ctx, w, ping.NewRuns())
		})
		if _, err := enrolBy(t, w); err != nil {
			t.Error(err)
		}
	})
}

// A gate of before answers pings alone, and where no gate is nothing answers.
func TestAGateThatKnowsNoDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWay()
		run(t, func(ctx context.Context) error { return ping.Serve(ctx, w, ping.NewRuns()) })
		if _, err := enrolBy(t, w); !errors.Is(err, ErrOlderGate) {
			t.Errorf("a gate of before: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if _, err := enrolBy(t, newWay()); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrOlderGate) {
			t.Errorf("no gate: %v", err)
		}
	})
}

// What is no question gets no answer, and pings are served beside invites.
func TestWhatIsNoInvite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, w := &fakeGate{}, newWay()
		run(t, func(ctx context.Context) error {
			return NewServer(gate, quiet()).ServeDatagrams(ctx, w, ping.NewRuns())
		})
		e, err := newEnrolling(w, EnrolRequest{Version, newSecret(t), key.Public{1}})
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range [][]byte{
			{}, []byte(datagramMagic), e.question[:datagramHead],
			append(headOf(e.question, datagramAnswer), "{}"...), append(headOf(e.question, datagramRefusal), "{}"...),
			append(bytes.Clone(e.question), make([]byte, maxDatagram)...),
		} {
			w.toGate <- message
		}
		synctest.Wait()
		w.toGate <- e.ping[:]
		if got := <-w.toHome; len(w.toHome) > 0 || !e.ping.IsAnsweredBy(got) {
			t.Errorf("the first answer is %q", got)
		}
		for text, want := range map[string]Code{
			"{": Malformed, "[]": Malformed, `{"version":99,"new":1}`: NewerVersion, `{"version":1,"secret":"x"}`: Malformed, `{"version":1,"more":1}`: Malformed,
		} {
			w.toGate <- append(bytes.Clone(e.question[:datagramHead]), text...)
			if _, err := readEnrolment(<-w.toHome); !errors.Is(err, &Error{Code: want}) {
				t.Errorf("%s: %v, not %s", text, err, want)
			}
			time.Sleep(time.Second)
		}
		if gate.enrols > 0 {
			t.Errorf("the gate was asked %d times", gate.enrols)
		}
	})
}

// Guesses come to one a second, and nobody is told that there were more.
func TestGuessingByDatagram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, w := &fakeGate{err: refuse(UnknownInvite, "unknown")}, newWay()
		run(t, func(ctx context.Context) error {
			return NewServer(gate, quiet()).ServeDatagrams(ctx, w, ping.NewRuns())
		})
		const seconds, each = 20, 5
		for range seconds * each {
			e, err := newEnrolling(w, EnrolRequest{Version, newSecret(t), key.Public{1}})
			if err != nil {
				t.Fatal(err)
			}
			w.toGate <- e.question
			time.Sleep(time.Second / each)
		}
		synctest.Wait()
		if gate.enrols > seconds+1 || len(w.toHome) != gate.enrols {
			t.Errorf("%d guesses in %d seconds, and %d answers", gate.enrols, seconds, len(w.toHome))
		}
	})
}

// A home believes only what answers its own question, and that only if it makes
// sense.
func TestAnswersToAnInvite(t *testing.T) {
	e, err := newEnrolling(newWay(), EnrolRequest{Version, newSecret(t), key.Public{1}})
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(e.question)
	other[datagramHead-1]++
	for _, message := range [][]byte{{}, e.question, other, headOf(other, datagramAnswer), e.ping[:]} {
		if answersTo(e.question, message) {
			t.Errorf("%q is taken for an answer", message)
		}
	}
	for _, text := range []string{"", "{}", "null", `{"name":"../etc"}`, strings.Repeat("[", maxDatagram), "\xff"} {
		for _, kind := range []byte{datagramAnswer, datagramRefusal} {
			message := append(headOf(e.question, kind), text...)
			if _, err := readEnrolment(message); !answersTo(e.question, message) || !errors.Is(err, &Error{Code: BadAnswer}) {
				t.Errorf("%c %q: %v", kind, text, err)
			}
		}
	}
}

func FuzzEnrolment(f *testing.F) {
	e, err := newEnrolling(newWay(), EnrolRequest{Version, key.Secret{}, key.Public{1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.question)
	f.Add(append(bytes.Clone(e.question[:datagramHead]), "{}"...))
	f.Fuzz(func(t *testing.T, question []byte) {
		if !asksToEnrol(question) {
			return
		}
		answer := NewServer(&fakeGate{}, quiet()).enrolment(t.Context(), netip.MustParseAddr("10.99.0.2"), question)
		if !answersTo(question, answer) || len(answer) > maxDatagram {
			t.Errorf("%q is answered by %q", question, answer)
		}
		if _, err := readEnrolment(answer); err != nil && !errors.As(err, new(*Error)) {
			t.Errorf("%q: %v", answer, err)
		}
	})
}
