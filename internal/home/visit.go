package home

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/examine"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// gateSaid is what came of asking the gate.
type gateSaid struct {
	side         *doctor.Side
	missing      doctor.Missing
	small, large doctor.Result
	observed     netip.AddrPort
	outside      []doctor.Result
}

// askGate asks the gate to look at itself, and visits it from outside
// meanwhile: the counters of before and after tell how far the visit came. The
// gate listens for longer than a visit may take, and counts then.
func (x examination) askGate(ctx context.Context, forwards []doctor.Forward) gateSaid {
	own, at := x.link.ends()
	client := control.NewClient(at, control.DialFrom(own))
	defer client.Close()
	said := gateSaid{small: doctor.Open}
	if _, err := ask(ctx, client, control.DoctorBrief); err != nil {
		said.missing = missing(err)
		if said.missing == doctor.Silent {
			said.small = doctor.TimedOut
		}
		said.outside = x.visit(ctx, forwards)
		return said
	}
	said.large = doctor.Open
	if _, err := ask(ctx, client, control.DoctorPadded); err != nil && missing(err) == doctor.Silent {
		// What the gate says of itself would take a full packet as well.
		said.large, said.missing = doctor.TimedOut, doctor.Silent
		return said
	}
	before, err := ask(ctx, client, control.DoctorCounters)
	if err != nil {
		said.missing = missing(err)
		return said
	}
	state, err := client.State(ctx)
	if err == nil {
		said.observed = state.Observed
	}
	var visit sync.WaitGroup
	visit.Go(func() { said.outside = x.visit(ctx, forwards) })
	after, err := askDoctor(ctx, client, control.DoctorAll)
	visit.Wait()
	if err != nil {
		said.missing = missing(err)
		return said
	}
	for i, f := range after.Forwards {
		if j := slices.IndexFunc(before.Forwards, func(b doctor.Forward) bool {
			return b.Name == f.Name && b.Protocol == f.Protocol && b.Port == f.Port
		}); j >= 0 {
			after.Forwards[i].Before = before.Forwards[j].After
		}
	}
	trustRemedies(&after)
	said.side = &after
	x.followVisits(ctx, client, &said, forwards)
	return said
}

// followVisits repeats the visits that failed while the gate watches which rule
// drops them. An older gate cannot, and is judged without.
func (x examination) followVisits(ctx context.Context, client *control.Client, said *gateSaid, forwards []doctor.Forward) {
	var again []doctor.Forward
	for i, r := range said.outside {
		if r != doctor.Untried && r != doctor.Open {
			again = append(again, forwards[i])
		}
	}
	if len(again) == 0 {
		return
	}
	var visit sync.WaitGroup
	visit.Go(func() { x.visit(ctx, again) })
	seen, err := askDoctor(ctx, client, control.DoctorTrace)
	visit.Wait()
	if err != nil {
		return
	}
	trustRemedies(&seen)
	said.side.Drops = slices.Concat(seen.Drops, said.side.Drops)
	for i, f := range said.side.Forwards {
		same := func(s doctor.Forward) bool {
			return s.Name == f.Name && s.Protocol == f.Protocol && s.Port == f.Port
		}
		if j := slices.IndexFunc(seen.Forwards, same); j >= 0 {
			now := &said.side.Forwards[i]
			now.Traced, now.Arrived, now.Unwanted = seen.Forwards[j].Traced, seen.Forwards[j].Arrived, seen.Forwards[j].Unwanted
		}
	}
}

// trustRemedies forgets commands that the gate proposes and that are none of our
// forms: somebody who has taken the gate over must not write what its owner, who reads
// it at home, will run.
func trustRemedies(gate *doctor.Side) {
	for i, d := range gate.Drops {
		if !isRemedy(d.Remedy) {
			gate.Drops[i].Remedy = ""
		}
	}
}

func isRemedy(command string) bool {
	_, ok := host.ParseRemedy(command)
	return ok
}

// askTime bounds a short question to the gate.
const askTime = 3 * time.Second

func ask(ctx context.Context, client *control.Client, kind string) (doctor.Side, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	defer client.Close() // each on a connection of its own: one may hang
	return askDoctor(ctx, client, kind)
}

// askDoctor asks the gate to look at itself.
func askDoctor(ctx context.Context, gate *control.Client, kind string) (doctor.Side, error) {
	look, err := gate.Doctor(ctx, kind)
	return examine.FromWire(look), err
}

func missing(err error) doctor.Missing {
	switch {
	case control.IsOlder(err):
		return doctor.Older
	case errors.Is(err, control.ErrUnreachable):
		return doctor.Silent
	default:
		return doctor.Refused
	}
}

// visit goes to the gate's public address as a visitor does: out by our own
// router, which gives the packets an address of the internet. It tries nothing
// where that cannot be; see doctor.Untried.
func (x examination) visit(ctx context.Context, forwards []doctor.Forward) []doctor.Result {
	results := make([]doctor.Result, len(forwards))
	gate, ok := x.visitable()
	if !ok {
		return results
	}
	allowed := x.openToAll()
	var wait sync.WaitGroup
	for i, f := range forwards {
		if f.Granted && f.Protocol == forward.TCP.String() && allowed[f.Name] {
			wait.Go(func() { results[i] = examine.Knock(ctx, f.Protocol, netip.AddrPortFrom(gate, f.Port)) })
		}
	}
	wait.Wait()
	return results
}

// visitable returns where the gate is, if this machine can be a visitor of it:
// from an address that home lets in, and by IPv4, which every forward has.
func (x examination) visitable() (netip.Addr, bool) {
	gate := x.link.where()
	if !gate.IsValid() || !plan.Routable(gate.Addr()) || !gate.Addr().Is4() {
		return netip.Addr{}, false
	}
	// Connecting a UDP socket chooses the way, and sends nothing.
	c, err := net.Dial("udp", net.JoinHostPort(gate.Addr().String(), strconv.Itoa(int(gate.Port()))))
	if err != nil {
		return netip.Addr{}, false
	}
	defer c.Close()
	own, err := netip.ParseAddrPort(c.LocalAddr().String())
	tunnel, _ := x.link.ends()
	return gate.Addr(), err == nil && !plan.Routable(own.Addr().Unmap()) && own.Addr().Unmap() != tunnel
}

// openToAll tells which forwards let anybody in: with an allow list, our own
// visit may rightly be refused.
func (x examination) openToAll() map[string]bool {
	x.link.mu.Lock()
	defer x.link.mu.Unlock()
	open := map[string]bool{}
	for _, f := range x.link.config.Forwards {
		open[f.Name] = len(f.Allow) == 0
	}
	return open
}
