package control

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
)

// Who says from which addresses of the tunnel a message is taken. The gate knows
// whose they are, and refuses everybody else.
type Who string

// Who may send a message.
const (
	Invited Who = "invite" // the holder of an invite, from its own address
	Homes   Who = "home"   // a home that has joined; it concerns that home alone
)

// A Message is one kind of request.
type Message struct {
	Method string
	Path   string
	Who    Who
	serve  func(s *Server, ctx context.Context, from netip.Addr, body []byte) (any, error)
}

// The paths of the protocol.
const (
	pathEnrol    = "/v1/enrol"
	pathForwards = "/v1/forwards"
	pathState    = "/v1/state"
	pathDoctor   = "/v1/doctor" // gates of before refuse it as UnknownPath
)

// API returns every message that a gate answers; enrolments are also taken as a
// datagram (see Enrol).
func API() []Message {
	return []Message{
		{http.MethodPost, pathEnrol, Invited, (*Server).enrol},
		{http.MethodPut, pathForwards, Homes, (*Server).pushInTurn},
		{http.MethodGet, pathState, Homes, (*Server).state},
		{http.MethodPost, pathDoctor, Homes, (*Server).doctor},
	}
}

func messageAt(path string) (Message, bool) {
	api := API()
	i := slices.IndexFunc(api, func(m Message) bool { return m.Path == path })
	if i < 0 {
		return Message{}, false
	}
	return api[i], true
}
