package control

import (
	"encoding/hex"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// A gate is not trusted by its homes: what it answers is checked like any
// other input before it reaches a terminal, a route or a file.

func badAnswer(what string) error {
	return refuse(BadAnswer, "the gate's answer makes no sense (%s); compare the versions of gatelodge on both sides", what)
}

func (EnrolResponse) bounds() bounds   { return answerBounds }
func (PushResponse) bounds() bounds    { return answerBounds }
func (StateResponse) bounds() bounds   { return answerBounds }
func (*DoctorResponse) bounds() bounds { return doctorBounds }

func (r EnrolResponse) check() error {
	switch {
	case forward.CheckName(r.Name) != nil:
		return badAnswer("the home's name")
	case !place(r.Prefix4, r.Address4, r.Gate4) || !r.Prefix4.Addr().Is4():
		return badAnswer("the IPv4 addresses")
	case !r.Prefix6.IsValid() && !r.Address6.IsValid() && !r.Gate6.IsValid():
		return nil
	case !place(r.Prefix6, r.Address6, r.Gate6) || r.Prefix6.Addr().Is4():
		return badAnswer("the IPv6 addresses")
	}
	return nil
}

// place reports whether a home and its gate can have these addresses in a
// tunnel of that prefix. The prefix cannot be so short that the tunnel would
// swallow the internet.
func place(tunnel netip.Prefix, home, gate netip.Addr) bool {
	ok := func(a netip.Addr) bool {
		return tunnel.Contains(a) && !a.IsMulticast() && !a.IsLoopback() && !a.IsUnspecified() && !a.Is4In6()
	}
	return tunnel.IsValid() && tunnel == tunnel.Masked() && tunnel.Bits() >= 8 && ok(home) && ok(gate) && home != gate
}

func (r PushResponse) check() error {
	if err := checkVerdicts(r.Verdicts); err != nil {
		return err
	}
	return checkPublic(r.Public)
}

// Answers checks that a gate which holds these forwards speaks of each of
// them, in their order, and of nothing else.
func (r StateResponse) Answers(held []forward.Published) error { return answers(r.Verdicts, held) }

func answers(verdicts []Verdict, held []forward.Published) error {
	same := func(v Verdict, p forward.Published) bool { return v.Name == p.Name }
	if !slices.EqualFunc(verdicts, held, same) {
		return badAnswer("it is about other forwards")
	}
	return nil
}

func (r StateResponse) check() error {
	digest, err := hex.DecodeString(r.Digest)
	switch {
	case forward.CheckName(r.Name) != nil:
		return badAnswer("the home's name")
	case err != nil || len(digest) > 64:
		return badAnswer("the digest")
	case r.Observed.Addr().Zone() != "":
		return badAnswer("the home's public address")
	case r.MTU < 0 || r.MTU > 65535:
		return badAnswer("the MTU")
	}
	if err := checkVerdicts(r.Verdicts); err != nil {
		return err
	}
	return checkPublic(r.Public)
}

func checkVerdicts(verdicts []Verdict) error {
	if len(verdicts) > forward.MaxForwards {
		return badAnswer("the number of verdicts")
	}
	for _, v := range verdicts {
		if err := v.check(); err != nil {
			return err
		}
	}
	return nil
}

func (v Verdict) check() error {
	notPlain := func(s string) bool { return !isPlain(s) }
	if forward.CheckName(v.Name) != nil || v.State != Granted && v.State != Refused {
		return badAnswer("a verdict")
	}
	if !isPlain(v.Reason) || len(v.Notes) > maxNotes || slices.ContainsFunc(v.Notes, notPlain) {
		return badAnswer("a reason")
	}
	return nil
}

func checkPublic(public []netip.Addr) error {
	unfit := func(a netip.Addr) bool { return !a.IsValid() || a.Zone() != "" }
	if len(public) > maxPublic || slices.ContainsFunc(public, unfit) {
		return badAnswer("the gate's public addresses")
	}
	return nil
}
