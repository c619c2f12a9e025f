// Package onboard makes a VPS a gate over ssh, and this machine its home, step by
// step, and undoes what it has made if a step fails.
package onboard

import (
	"context"
	"io"
	"strings"

	"github.com/gatelodge/gatelodge/internal/edit"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/instance"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/survey"
)

// Options says what the owner wants.
type Options struct {
	Destination string   // of the VPS, as ssh takes it
	Port        uint16   // of its ssh server; 0: as ssh decides
	SSHSettings []string // as ssh's -o takes them
	SSHAgent    string   // socket of the agent; "": that of the environment
	Name        string   // of this home at the gate
	Endpoints   []string // at which this home reaches the VPS; none: its public addresses
	ListenPort  uint16   // of WireGuard on the VPS, UDP
	Input       string   // "protect" or "leave"
	Binary      string   // the program to install on the VPS; "": this one, or one for its processor
	// WithoutService goes on where nothing starts gatelodge after a reboot.
	WithoutService bool
	RemoteRoot     string // of the gate on the VPS
}

// Here is this machine, and what the commands do on it.
type Here struct {
	instance.Instance
	Version string
	Editor  edit.Editor
	Look    func(ctx context.Context) (host.Found, error)                // changes nothing
	Join    func(ctx context.Context, invite key.Invite) (string, error) // returns the home's name
	Down    func(ctx context.Context) error
	// Terminal gets what ssh has to say while it connects.
	Terminal io.Writer
}

// Progress is told what goes on, and asks the owner.
type Progress interface {
	// Step begins step n of so many.
	Step(n, of int, name string)
	// Done says one thing that was done, or why it was not.
	Done(text string)
	// Agree shows what was found and will be done; an error is a no.
	Agree(ctx context.Context, p Proposal) error
	// Password asks for that of sudo on the VPS.
	Password(ctx context.Context) (string, error)
}

// Proposal is what init has found and would do, in lines for the owner.
type Proposal struct {
	VPS   []string // what it is
	There []string // to do on the VPS
	Here  []string // to do on this machine
	Notes []string
}

// setup is one run.
type setup struct {
	o        Options
	here     Here
	progress Progress
	vps      vps
	found    survey.Facts
	verdict  survey.Verdict
	bring    []byte // the program, if the VPS needs it
	install  bool   // whether this machine needs the service
	invite   string // a secret
}

func (s *setup) steps() []step {
	gate, home := gateSteps{s}, homeSteps{s}
	prove := proof{here: s.here, vps: &s.vps, progress: s.progress, home: s.o.Name}.prove
	return []step{
		{name: "connect to " + s.o.Destination, parts: act(s.connect)},
		{name: "look at both machines", parts: act(s.look)},
		{name: "decide", parts: act(s.decide)},
		{name: "install gatelodge on the VPS", parts: gate.installThere},
		{name: "make the VPS a gate", parts: gate.makeGate},
		{name: "invite " + s.o.Name, parts: gate.makeInvite},
		{name: "make this machine a home", parts: home.makeHome},
		// What keeps a visitor out is none of ours.
		{name: "prove the way from outside to here and back", parts: act(prove), stays: true},
	}
}

// Run sets all up. CheckHere comes before.
func Run(ctx context.Context, o Options, here Here, progress Progress) error {
	s := &setup{o: o, here: here, progress: progress, vps: vps{root: strings.TrimRight(o.RemoteRoot, "/")}}
	err := run(ctx, s.steps(), progress)
	if s.vps.conn == nil {
		return err
	}
	if closeErr := s.vps.conn.Close(); closeErr != nil {
		here.Note("the connection to the VPS was not cleaned up: " + closeErr.Error())
	}
	return err
}
