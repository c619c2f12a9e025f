package status

import (
	"slices"
	"time"
)

// Standing returns what of a report is worth telling again where it changes: how
// things stand, without what only grows older or larger.
func (r Report) Standing() Report {
	r.Since, r.Seen, r.Counters, r.Verdict = time.Time{}, time.Time{}, Counters{}, nil
	r.Gates, r.Homes, r.Forwards = slices.Clone(r.Gates), slices.Clone(r.Homes), slices.Clone(r.Forwards)
	for i := range r.Gates {
		r.Gates[i].Peer = Peer{Endpoint: r.Gates[i].Peer.Endpoint}
	}
	for i := range r.Homes {
		r.Homes[i].Peer = Peer{Endpoint: r.Homes[i].Peer.Endpoint}
	}
	for i := range r.Forwards {
		f := &r.Forwards[i]
		f.In, f.Out, f.Connections, f.Limited, f.LastConnection = nil, nil, 0, 0, time.Time{}
	}
	if r.Input != nil {
		in := *r.Input
		in.Left = 0
		r.Input = &in
	}
	return r
}
