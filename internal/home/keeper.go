package home

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/reach"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// keeper keeps the tunnel alive. It pings the gate through it, which also
// tells the gate at once when this home's address has changed, and when no
// answer comes it tries everything that has been seen to help, for ever: look
// the gate's name up again, try its other addresses, send from another port.
// It does not do so where a handshake, or authenticated bytes that come, show
// that the tunnel itself works.
//
// Times are monotonic, so a wrong clock does not matter.
type keeper struct {
	link   *link
	beyond beyond
	events *supervise.Quota // of facts that the gate can cause
	looked time.Time        // when it was last tried whether the gate's machine is up; Run's own

	mu           sync.Mutex
	up           bool
	works        bool // the tunnel, at the last look at why there is no answer
	roundTrip    time.Duration
	problem      string
	lastAnswered time.Time // zero: never
	run          ping.Run
	giveWay      bool      // the last answer said so
	several      time.Time // when an answer last said that there is another run; zero: never

	proving sync.Mutex // held while the tunnel is proved
	proof   proof
}

// proof is what is known of the tunnel itself while the gate's daemon is silent.
type proof struct {
	begun    bool   // with a new handshake, in this silence
	received uint64 // bytes, when it was last looked at
}

const (
	// pingSooner is between two pings while there is no answer; otherwise it is
	// ping.Interval.
	pingSooner = 300 * time.Millisecond
	// pingPatience is how long an answer may take.
	pingPatience = 1500 * time.Millisecond
	// silent is after how long without an answer the tunnel counts as down.
	silent = 5 * time.Second
	// another is after how long without success something else is tried: just
	// more than WireGuard waits for the answer to a handshake (REKEY_TIMEOUT,
	// 5 seconds, in the WireGuard paper).
	another = 6 * time.Second
)

func newKeeper(l *link) *keeper {
	return &keeper{link: l, beyond: network, events: supervise.NewQuota(l.events), run: ping.NewRun()}
}

// beyond is what is asked beyond this machine.
type beyond struct {
	dial    func(own netip.Addr) control.Dial                  // through the tunnel
	answers func(context.Context, netip.Addr, []uint16) uint16 // see reach.AnsweringPort
	names   reach.NameServer
}

var network = beyond{control.DialFrom, reach.AnsweringPort, net.DefaultResolver}

// String implements fmt.Stringer.
func (k *keeper) String() string { return "tunnel" }

// Ready implements supervise.Task. A daemon is ready without a tunnel: the gate may
// be away for days.
func (k *keeper) Ready() <-chan struct{} { return k.link.loop.Ready() }

// Run keeps the tunnel alive until ctx ends.
func (k *keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	answered, tried := time.Now(), time.Time{}
	if !k.link.where().IsValid() {
		answered = answered.Add(-silent) // there is nothing to wait for
	}
	back := standBack{keeper: k}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		_, err := k.ping(ctx)
		if k.mustGiveWay() {
			back.wait(ctx)
			answered, tried = time.Now(), time.Time{}
			timer.Reset(0)
			continue
		}
		if err == nil {
			answered = time.Now()
			k.answered(ctx)
			back.over()
			timer.Reset(k.interval())
			continue
		}
		timer.Reset(pingSooner)
		if back.defend(ctx) {
			timer.Reset(0)
		}
		if time.Since(answered) < silent {
			continue
		}
		k.silent()
		if time.Since(tried) >= another {
			k.try(ctx, time.Since(answered))
			tried = time.Now()
		}
	}
}

// try does what can be done about a silence that has lasted for a while.
func (k *keeper) try(ctx context.Context, lasted time.Duration) {
	alone := k.daemonAlone(ctx)
	works := alone || k.carries(ctx)
	k.mu.Lock()
	k.works = works
	k.mu.Unlock()
	switch {
	case alone:
		k.note("the tunnel works, but the gate's daemon does not answer")
	case works:
		if k.isTold() {
			return // it was an answer after all
		}
		k.note("the tunnel works, but what this home says to the gate's daemon in it is lost: a firewall on the gate drops it, and there gatelodge doctor names it")
	default:
		if why := k.whySilent(ctx, lasted); why != "" {
			k.note(why)
		}
		k.tryElsewhere(ctx)
	}
}

// daemonAlone reports whether only the gate's daemon is silent: its kernel
// takes a connection for a daemon that hangs, and refuses one where there is
// none. To begin the tunnel again would only cut off who uses it.
func (k *keeper) daemonAlone(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pingPatience)
	defer cancel()
	own, gate := k.link.ends()
	c, err := k.beyond.dial(own)(ctx, "tcp", gate.String())
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	_ = c.Close() // nothing was to be said
	return true
}

// carries reports whether the tunnel itself works, which a handshake proves, and
// only what is said to the gate's daemon in it is lost: to another firewall on
// the gate, say, that lets in what it knows and nothing new. To go on from
// another port would be new to it, and so cut off who uses the tunnel.
func (k *keeper) carries(ctx context.Context) bool {
	k.proving.Lock()
	defer k.proving.Unlock()
	if k.link.hasLeft() {
		return false
	}
	gate, err := k.link.gatePeer(ctx)
	if err == nil && k.proof.isDue(gate) {
		if err = k.link.beginAgain(ctx); err == nil {
			_, _ = k.ping(ctx) // for a handshake there must be something to send
			gate, err = k.link.gatePeer(ctx)
			k.proof = proof{begun: true, received: gate.ReceivedBytes}
		}
	}
	if err != nil && ctx.Err() == nil {
		k.note(err.Error())
	}
	return err == nil && !gate.LatestHandshake.IsZero()
}

// isDue reports whether a handshake has to be made to know anything: at the
// beginning of a silence, and where one was made and nothing has come since the
// last look, so that there is nobody whom it could disturb.
func (p *proof) isDue(gate plan.ObservedPeer) bool {
	grown := gate.ReceivedBytes != p.received
	p.received = gate.ReceivedBytes
	return !p.begun || !gate.LatestHandshake.IsZero() && !grown
}

// ping asks the gate for a sign of life, and keeps what it says about other
// runs of this home.
func (k *keeper) ping(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, k.patience())
	defer cancel()
	own, gate := k.link.ends()
	k.mu.Lock()
	run := k.run
	k.mu.Unlock()
	pong, err := ping.New(gate, k.beyond.dial(own), run).Ping(ctx)
	if err == nil {
		k.heard(pong)
	}
	return pong.RoundTrip, err
}

// answered is called for an answer that lets this run go on.
func (k *keeper) answered(ctx context.Context) {
	k.proving.Lock()
	k.proof = proof{}
	k.proving.Unlock()
	if !k.isUp() {
		return
	}
	if err := k.link.rememberEndpoint(ctx); err != nil {
		k.events.Record(event.EndpointNotSaved{Why: err.Error()})
	}
	k.link.push.kick()
}

// isUp notes that the gate has answered, and reports whether that is news.
func (k *keeper) isUp() bool {
	at := k.link.where()
	k.mu.Lock()
	defer k.mu.Unlock()
	news := !k.up
	k.up, k.works, k.problem, k.lastAnswered = true, false, "", time.Now()
	if news {
		k.events.Record(event.TunnelUp{Endpoint: at, RoundTrip: k.roundTrip})
	}
	return news
}

// worksAlone reports whether the gate does not answer and the tunnel works all the same.
func (k *keeper) worksAlone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.up && k.works
}

func (k *keeper) silent() {
	at := k.link.where()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.up {
		k.events.Record(event.TunnelDown{Endpoint: at})
	}
	k.up, k.roundTrip = false, 0
}

// note keeps the reason why nothing can be tried, and says it once.
func (k *keeper) note(problem string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if problem != k.problem {
		k.events.Record(event.GateUnreachable{Why: problem})
	}
	k.problem = problem
}

// silence returns for how long the gate has not answered, 0 if it never has.
func (k *keeper) silence() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lastAnswered.IsZero() {
		return 0
	}
	return time.Since(k.lastAnswered)
}

// state returns whether the gate answers, which is what *connected* means wherever a
// home speaks of its gate (see status.Report), how fast, and if not what is known
// of why.
func (k *keeper) state() (up bool, roundTrip time.Duration, problem string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.up, k.roundTrip, k.problem
}

// tryElsewhere moves on to the gate's next address, and to another port of
// our own: a router on the way may have lost or confused its mapping of the
// old one.
func (k *keeper) tryElsewhere(ctx context.Context) {
	candidates, err := k.candidates(ctx)
	if len(candidates) > 0 {
		next := candidates[0]
		if i := slices.Index(candidates, k.link.where()); i >= 0 {
			next = candidates[(i+1)%len(candidates)]
		}
		k.link.log.Debug("trying the gate", "endpoint", next)
		err = k.link.moveTo(ctx, next)
	}
	if err != nil && ctx.Err() == nil {
		k.note(err.Error())
	}
}

// candidates looks up all names again and returns the addresses to which this
// machine has a route. An address that is not to be found out now is simply
// not among them; the last one that worked always is.
func (k *keeper) candidates(ctx context.Context) ([]netip.AddrPort, error) {
	var found []netip.AddrPort
	var errs []error
	for _, e := range k.link.endpoints() {
		addrs, err := reach.Resolve(ctx, e)
		found = append(found, addrs...)
		errs = append(errs, err)
	}
	if last := k.link.lastEndpoint(); last.IsValid() && len(found) == 0 {
		found = append(found, last)
	}
	usable := reach.Usable(ctx, k.beyond.names, found, k.link.hasRoute)
	if len(usable) == 0 && len(found) > 0 {
		errs = append(errs, reach.NoRoute(found))
	}
	return usable, errors.Join(errs...)
}
