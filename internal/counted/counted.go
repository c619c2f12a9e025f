// Package counted is what a gate has counted of its homes' forwards, on its way from
// the gate's report to that of the home.
package counted

import (
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Tell adds to a gate's verdicts what its report has counted of the same forwards.
func Tell(verdicts []control.Verdict, forwards []status.Forward, now time.Time) []control.Verdict {
	byName := make(map[string]status.Forward, len(forwards))
	for _, f := range forwards {
		byName[f.Name] = f
	}
	for i := range verdicts {
		f := byName[verdicts[i].Name]
		if f.In == nil || f.Out == nil {
			continue
		}
		t := &control.Traffic{
			InPackets: f.In.Packets, InBytes: f.In.Bytes, OutPackets: f.Out.Packets, OutBytes: f.Out.Bytes,
			Connections: f.Connections, Limited: f.Limited,
		}
		if !f.LastConnection.IsZero() {
			t.SinceLast = max(now.Sub(f.LastConnection), 1)
		}
		verdicts[i].Traffic = t
	}
	return verdicts
}

// Hear adds to a home's report of a forward what its gate has told at that time. A
// gate of an earlier version tells nothing.
func Hear(f *status.Forward, t *control.Traffic, at time.Time) {
	if t == nil {
		return
	}
	f.In = &status.Traffic{Packets: t.InPackets, Bytes: t.InBytes}
	f.Out = &status.Traffic{Packets: t.OutPackets, Bytes: t.OutBytes}
	f.Connections, f.Limited = t.Connections, t.Limited
	if t.SinceLast > 0 {
		f.LastConnection = at.Add(-t.SinceLast)
	}
}
