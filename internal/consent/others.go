package consent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Others remembers what other firewalls of this machine drop. Their rules are
// read again only when the kernel's rules or the networks have changed.
type Others struct {
	paths  layout.Paths
	events event.Recorder
	rules  rules

	looking    sync.Mutex // held for a look, and guards what only looks need
	generation uint32
	read       bool
	networks   []plan.Network
	renewed    map[Remedy]time.Time

	mu         sync.Mutex // guards what follows, and is never held while anything waits
	drops      []host.OthersDrop
	problems   []string
	agreed     []string // texts of remedies
	unreadable error    // why those are not known
}

// rules are those of the machine, as a look reads them.
type rules struct {
	generation func() (uint32, error)
	legacy     func() (tables []string, err error)
	drops      func(ctx context.Context, want plan.State, facts plan.Facts) ([]host.OthersDrop, error)
}

// NewOthers returns what is remembered of an instance's machine: nothing yet.
func NewOthers(p layout.Paths, events event.Recorder) *Others {
	return &Others{paths: p, events: events, rules: rules{host.RulesGeneration, host.LegacyTables, host.OthersDrops}}
}

// errNoGeneration is why one has to look each time: the kernel does not say when a
// rule of iptables-legacy changes.
var errNoGeneration = errors.New("iptables-legacy has no generation")

// putBackPause is how long another firewall has peace after a rule of its owner's
// for us was restored: where somebody deletes it again and again, we do not
// fight.
const putBackPause = 10 * time.Second

// Look finds out what keeps packets of ours from passing, and says in the log
// what is new. Rules that the owner has agreed to, and that their firewall has
// forgotten, are put in again.
func (o *Others) Look(ctx context.Context, want plan.State, facts plan.Facts) {
	o.looking.Lock()
	defer o.looking.Unlock()
	o.ReadAgreed()
	generation, err := o.rules.generation()
	if legacy, legacyErr := o.rules.legacy(); legacyErr != nil || len(legacy) > 0 {
		err = errNoGeneration
	}
	if err == nil && o.read && generation == o.generation && slices.Equal(facts.Networks, o.networks) {
		return
	}
	drops, findErr := o.rules.drops(ctx, want, facts)
	again, renewErr := o.renew(ctx, drops)
	if again && findErr == nil {
		drops, findErr = o.rules.drops(ctx, want, facts)
	}
	problems := describe(drops)
	if findErr != nil {
		problems = append(problems, fmt.Sprintf("cannot read all rules of other firewalls, so one that is in the way may go unseen: %v", findErr))
	}
	if renewErr != nil {
		problems = append(problems, renewErr.Error())
	}
	o.generation, o.networks, o.read = generation, facts.Networks, err == nil && findErr == nil && !again
	o.say(o.keep(drops, problems), problems)
}

// keep keeps what a look has found, and returns the problems of the one before.
func (o *Others) keep(drops []host.OthersDrop, problems []string) (before []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before = o.problems
	o.drops, o.problems = drops, problems
	return before
}

// say tells of problems that are new, and when there are none left.
func (o *Others) say(before, problems []string) {
	for _, p := range problems {
		if !slices.Contains(before, p) {
			o.events.Record(event.FirewallInTheWay{Problem: p})
		}
	}
	if len(problems) == 0 && len(before) > 0 {
		o.events.Record(event.FirewallsClear{})
	}
}

// renew restores what the owner has agreed to and a firewall has forgotten, by
// its restart or reload. It reports whether to look again: the rules
// have changed, or a rule has to wait.
func (o *Others) renew(ctx context.Context, drops []host.OthersDrop) (again bool, err error) {
	if len(drops) == 0 {
		return false, nil
	}
	list, err := Agreed(o.paths)
	if err != nil {
		return false, err
	}
	var errs []error
	for _, r := range remedies(drops) {
		if r.Lasts() || !slices.Contains(list, r) {
			continue
		}
		again = true
		if last, ever := o.renewed[r]; ever && time.Since(last) < putBackPause {
			continue
		}
		if o.renewed == nil {
			o.renewed = map[Remedy]time.Time{}
		}
		o.renewed[r] = time.Now()
		if err := r.Put(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		o.events.Record(event.RemedyRenewed{Remedy: r.String()})
	}
	return again, errors.Join(errs...)
}

// remedies returns what would let everything through that is dropped, each once.
func remedies(drops []host.OthersDrop) []Remedy {
	list := []Remedy{}
	for _, d := range drops {
		if d.Remedy != (Remedy{}) && !slices.Contains(list, d.Remedy) {
			list = append(list, d.Remedy)
		}
	}
	return list
}

// Wanted returns, as texts of remedies, what would let everything through that the last look has found
// to be dropped.
func (o *Others) Wanted() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	texts := []string{}
	for _, r := range remedies(o.drops) {
		texts = append(texts, r.String())
	}
	return texts
}

// Agreed lists, for people, what the owner has agreed to, as it was last read.
func (o *Others) Agreed() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.agreed
}

// ReadAgreed reads again what the owner has agreed to, which a command writes. A list
// that cannot be read is one of the problems.
func (o *Others) ReadAgreed() {
	list, err := Agreed(o.paths)
	texts := []string{}
	for _, r := range list {
		texts = append(texts, r.String())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.agreed, o.unreadable = texts, err
}

// Last returns what the last look has found.
func (o *Others) Last() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.unreadable != nil {
		return append(slices.Clone(o.problems), o.unreadable.Error())
	}
	return o.problems
}

// describe makes one sentence of all that one rule does. A mark that is overwritten
// does harm only where a route is for the new one: the doctor tells of it where no
// answer comes.
func describe(drops []host.OthersDrop) []string {
	type place struct{ rule, does, remedy string }
	var places []place
	suffers := map[place][]string{}
	for i, d := range Drops(drops) {
		if d.Deed == doctor.Remarks {
			continue
		}
		p := place{d.String(), deedText(d.Deed), d.Remedy}
		if suffers[p] == nil {
			places = append(places, p)
		}
		if what := drops[i].Packet.What; !slices.Contains(suffers[p], what) {
			suffers[p] = append(suffers[p], what)
		}
	}
	var problems []string
	for _, p := range places {
		text := fmt.Sprintf("%s %s %s", p.rule, p.does, suffering(suffers[p]))
		if p.remedy != "" {
			text += "; to let that through: " + p.remedy
		}
		problems = append(problems, text)
	}
	return problems
}

func deedText(d doctor.Deed) string {
	switch d {
	case doctor.Hides:
		return "replaces the visitors' addresses in"
	case doctor.Untracks:
		return "exempts from connection tracking, so that it is not forwarded,"
	}
	return "drops"
}

// Drops returns what was found in the doctor's words.
func Drops(found []host.OthersDrop) []doctor.Drop {
	var drops []doctor.Drop
	for _, d := range found {
		drops = append(drops, doctor.Drop{
			Deed: doctor.Deed(d.Deed), Hook: doctor.Hook(d.Packet.Hook), Owner: d.Owner, Table: d.Family + " " + d.Table, Chain: d.Chain,
			Rule: d.Rule, Remedy: d.Remedy.String(), Legacy: d.Legacy, Protocol: forward.Protocol(d.Packet.Protocol).String(), Port: d.Packet.Port,
		})
	}
	return drops
}
