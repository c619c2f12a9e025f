package heard

import (
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/fair"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Presence tells of homes that connect and fall silent: once for each change, and of
// a home that does so all the time now and then. What was told last is how things
// are, or soon will be.
type Presence struct {
	events event.Recorder
	said   *fair.Log
	told   map[string]bool // by name: the home is connected
}

// NewPresence returns a presence that tells a recorder.
func NewPresence(events event.Recorder) *Presence {
	return &Presence{events: events, said: fair.NewLog(), told: map[string]bool{}}
}

// Tell compares what is heard now with what was told. It has one caller at a time.
func (p *Presence) Tell(now time.Time, homes []registry.Home, s *Silences) {
	told := make(map[string]bool, len(homes))
	for _, h := range homes {
		heard := s.of(h.PublicKey)
		is := heard.ever && heard.isHeard(now)
		told[h.Name] = p.told[h.Name]
		if is == told[h.Name] {
			continue
		}
		p.said.Do(h.Name, now, func(int) {
			told[h.Name] = is
			p.events.Record(presenceFact(h, heard, is, now))
		})
	}
	p.told = told
}

func presenceFact(h registry.Home, heard lastHeard, connected bool, now time.Time) event.Fact {
	if !connected {
		return event.HomeSilent{Home: h.Name, For: now.Sub(heard.at).Round(time.Second)}
	}
	f := event.HomeConnected{Home: h.Name}
	if n := len(heard.places); n > 0 {
		f.Endpoint = heard.places[n-1].at
	}
	return f
}
