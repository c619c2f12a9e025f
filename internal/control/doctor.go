package control

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
)

// The kinds of DoctorRequest.
const (
	// DoctorBrief asks for the clock alone: question and answer are one packet
	// each.
	DoctorBrief = "brief"
	// DoctorPadded is DoctorBrief with padding both ways, which takes several
	// full packets.
	DoctorPadded = "padded"
	// DoctorCounters asks for the forwards with their counters, at once.
	DoctorCounters = "counters"
	// DoctorAll asks for everything. The gate probes the home's granted
	// forwards through the tunnel, which takes it a few seconds.
	DoctorAll = "all"
	// DoctorTrace has the gate follow the visits of TCP ports that come from
	// where the home comes from, for some two seconds: Drops are what it then
	// saw.
	DoctorTrace = "trace"
)

// padding is what a padded message carries in bytes: more than two packets.
const padding = 6000

// DoctorRequest asks a gate to look at itself, as far as it concerns the home
// that asks.
type DoctorRequest struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`
	Padding string `json:"padding,omitempty"` // means nothing
}

// DoctorResponse is what the gate has found.
type DoctorResponse struct {
	Version int    `json:"version"`
	Side    Look   `json:"side"`
	Padding string `json:"padding,omitempty"`
}

// Examiner is a Gate that can look at itself.
type Examiner interface {
	Doctor(ctx context.Context, from netip.Addr, kind string) (Look, error)
}

// Doctor asks the gate to look at itself. A gate of an older version refuses
// with UnknownPath.
func (c *Client) Doctor(ctx context.Context, kind string) (Look, error) {
	var answer DoctorResponse
	ask := DoctorRequest{Version: Version, Kind: kind}
	if kind == DoctorPadded {
		ask.Padding = pad()
	}
	err := c.do(ctx, http.MethodPost, pathDoctor, ask, &answer)
	return answer.Side, err
}

func (s *Server) doctor(ctx context.Context, from netip.Addr, body []byte) (any, error) {
	var r DoctorRequest
	if err := s.read(body, &r); err != nil {
		return nil, err
	}
	examiner, ok := s.gate.(Examiner)
	if !ok {
		return nil, refuse(UnknownPath, "this gate cannot look at itself")
	}
	switch r.Kind {
	case DoctorBrief, DoctorPadded, DoctorCounters, DoctorAll, DoctorTrace:
	default:
		return nil, refuse(Malformed, "the gate knows no look of the kind %.20q; it may run an older gatelodge than the home", r.Kind)
	}
	side, err := examiner.Doctor(ctx, from, r.Kind)
	answer := DoctorResponse{Version: Version, Side: side}
	if r.Kind == DoctorPadded {
		answer.Padding = pad()
	}
	return answer, err
}

// pad returns text that is not worth compressing, since nothing here does.
func pad() string {
	b := make([]byte, padding)
	for i := range b {
		b[i] = '.'
	}
	return string(b)
}

// maxLooked bounds each list in an answer.
const maxLooked = 4096

// check makes every text of the answer fit for a terminal: they come from a
// gate, which is not trusted. The rest is data for Judge alone.
func (r *DoctorResponse) check() error {
	if r.Side.Role != "gate" {
		return badAnswer("it is not a gate's")
	}
	r.Padding = ""
	if err := checkPublic(r.Side.Public); err != nil {
		return err
	}
	if !cleanse(reflect.ValueOf(&r.Side).Elem()) {
		return badAnswer("one of its lists is too long")
	}
	return nil
}

// cleanse makes all texts in a value plain. It reports whether its lists are
// of bounded length.
func cleanse(v reflect.Value) bool {
	switch v.Type() { // a zone is text, too
	case reflect.TypeFor[netip.Addr]():
		return v.Addr().Interface().(*netip.Addr).Zone() == ""
	case reflect.TypeFor[netip.AddrPort]():
		return v.Addr().Interface().(*netip.AddrPort).Addr().Zone() == ""
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(plain(v.String()))
	case reflect.Pointer:
		return v.IsNil() || cleanse(v.Elem())
	case reflect.Slice:
		if v.Len() > maxLooked {
			return false
		}
		for i := range v.Len() {
			if !cleanse(v.Index(i)) {
				return false
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && !cleanse(v.Field(i)) {
				return false
			}
		}
	}
	return true
}

// IsOlder reports whether an error means that the gate's version does not know
// the message.
func IsOlder(err error) bool { return errors.Is(err, &Error{Code: UnknownPath}) }
