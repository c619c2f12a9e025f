package heard

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/fair"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// facts keeps what was recorded.
type facts []event.Fact

func (f *facts) Record(fact event.Fact) { *f = append(*f, fact) }

func (f *facts) kinds() []string {
	var kinds []string
	for _, fact := range *f {
		kinds = append(kinds, fact.Line().Kind)
	}
	return kinds
}

// listening is a gate of one home that is listened to every two seconds.
type listening struct {
	facts    facts
	presence *Presence
	silences *Silences
	now      time.Time
	homes    []registry.Home
}

func newListening() *listening {
	l := &listening{silences: NewSilences(), now: time.Now(), homes: []registry.Home{{Name: "attic", PublicKey: key.Public{1}}}}
	l.presence = NewPresence(&l.facts)
	return l
}

func (l *listening) hear(received uint64) {
	l.now = l.now.Add(Round)
	l.silences.Due(l.now, observe(received))
	l.presence.Tell(l.now, l.homes, l.silences)
}

func TestAHomeThatComesAndGoesIsToldOfOnce(t *testing.T) {
	l := newListening()
	for _, received := range []uint64{0, 0, 100, 200, 300, 300, 300, 300, 300, 300, 400, 500} {
		l.hear(received)
	}
	if got, want := l.facts.kinds(), []string{"home.connected", "home.silent", "home.connected"}; !slices.Equal(got, want) {
		t.Errorf("told %v, wanted %v", got, want)
	}
	if silent := l.facts[1].(event.HomeSilent); silent.Home != "attic" || silent.For != SilentAfter {
		t.Errorf("%+v", silent)
	}
}

// A gate that starts knows from its device what a home has sent before, and not when.
func TestAHomeThatWasSilentBeforeTheStartIsNoNews(t *testing.T) {
	l := newListening()
	for range 10 {
		l.hear(900)
	}
	l.homes = nil // revoked
	l.hear(1000)
	if len(l.facts) != 0 {
		t.Errorf("told %v", l.facts.kinds())
	}
}

// A home that comes and goes all day fills no log, and what was said last of it is
// true in the end.
func TestAHomeThatComesAndGoesAllDayIsToldOfNowAndThen(t *testing.T) {
	l := newListening()
	received := uint64(0)
	const day = 24 * time.Hour
	for end := l.now.Add(day); l.now.Before(end); {
		received++
		for range 5 {
			l.hear(received)
		}
	}
	if most := int(day/fair.SaidInterval) + fair.SaidAtOnce; len(l.facts) > most {
		t.Errorf("told %d times, wanted at most %d", len(l.facts), most)
	}
	for range int(2 * fair.SaidInterval / Round) {
		received++
		l.hear(received)
	}
	if last := fmt.Sprintf("%T", l.facts[len(l.facts)-1]); last != "event.HomeConnected" {
		t.Errorf("told last: %s", last)
	}
}
