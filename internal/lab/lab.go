// Package lab is a small internet in network namespaces on one machine, with
// the real program running in it as a gate and as homes: for `gatelodge lab`,
// and for tests.
//
//	                  visitor  203.0.113.10
//	                     │     2001:db8:c::10
//	                     │
//	                 ┌───┴────┐                     gate  198.51.100.1
//	                 │internet├────────────────────────   2001:db8:a::1
//	                 └───┬────┘                           sshd on 2222
//	                     │ 192.0.2.1
//	 IPv4 only from here │
//	                     │ 192.0.2.2, masquerades
//	                 ┌───┴────┐
//	     192.168.1.1 │ cgnat  │ 192.168.2.1
//	   ┌─────────┬───┴────────┴───┐
//	   │         │                │
//	device      home            home2
//	  .20        .10              .10
//	             │ docker0 172.17.0.1, port 8081 leads to
//	             │
//	         container 172.17.0.2:80
//
// Every name in the drawing is a host, and every host a network namespace.
// Visitor and gate have IPv4 and IPv6; behind cgnat there is no IPv6, and no
// way in. The device's default route is the cgnat, not home, as in any LAN.
//
// A lab lives inside Enter: when the process that made it ends, in whatever
// way, the kernel removes all of it.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// Options says how to make a lab.
type Options struct {
	// Binary is the program to run as gate and as homes.
	Binary string
	// Env is added to the environment of every program in the lab.
	Env []string
	// Dir keeps the roots and logs of the hosts. If empty, one is made, and
	// removed by Close.
	Dir string
	// Log gets a line for each step; it may be nil.
	Log io.Writer
	// Prefix goes before the names of the hosts' namespaces, so that several
	// labs can stand at once.
	Prefix string
	// Machines names hosts, of gate and home, that the caller brings as
	// virtual machines. Such a host has no namespace and no services, and its
	// wire ends in a tap interface beside it: see Socket.
	Machines []string
}

// Lab is the small internet. One can stand at a time inside one Enter, since
// hosts go by their names.
type Lab struct {
	options Options
	dir     string
	ownDir  bool
	hosts   map[string]*Host
	order   []string
	cert    certificate
	natHigh bool // which half of the ports cgnat uses
	closers []func() error
}

// Enter moves the program into namespaces of its own, as netns.Enter does.
func Enter() (status int, outside bool, err error) { return netns.Enter() }

// New makes the hosts, joins them, and starts the services on them and the
// gate's ssh server, but no gatelodge. It must be called inside Enter.
func New(ctx context.Context, o Options) (*Lab, error) {
	if !netns.Inside() {
		return nil, errors.New("a lab can only be made inside Enter")
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	l := &Lab{options: o, dir: o.Dir, hosts: map[string]*Host{}}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context) error {
	if err := l.makeDir(); err != nil {
		return err
	}
	if err := CheckPrerequisites(); err != nil {
		return err
	}
	l.Logf("making a small internet: visitor, internet, gate, cgnat, home, device, container, home2")
	for _, s := range l.sites() {
		if err := l.addHost(s); err != nil {
			return err
		}
	}
	if err := l.connect(ctx); err != nil {
		return err
	}
	return l.startServices(ctx)
}

// makeDir prefers /run, which inside Enter is in memory and ours alone.
func (l *Lab) makeDir() (err error) {
	if l.dir == "" {
		l.ownDir = true
		l.dir, err = os.MkdirTemp("/run", "lab-")
	}
	return err
}

func (l *Lab) addHost(s site) error {
	ns, err := netns.New(l.options.Prefix + s.name)
	if err != nil {
		return err
	}
	h := &Host{Name: s.name, IPv4: s.ipv4, IPv6: s.ipv6, lab: l, ns: ns, dir: filepath.Join(l.dir, s.name)}
	l.hosts[s.name] = h
	l.order = append(l.order, s.name)
	return h.prepare()
}

// Host returns a host of the drawing by its name. It panics for any other
// name, which only a mistake in the calling code can bring about.
func (l *Lab) Host(name string) *Host {
	h, ok := l.hosts[name]
	if !ok {
		panic("the lab has no host " + name)
	}
	return h
}

// Visitor is the host that stands for everyone on the internet.
func (l *Lab) Visitor() *Host { return l.Host("visitor") }

// Gate is the host with the public address.
func (l *Lab) Gate() *Host { return l.Host("gate") }

// Home is the first home.
func (l *Lab) Home() *Host { return l.Host("home") }

// Home2 is the second home, of another owner.
func (l *Lab) Home2() *Host { return l.Host("home2") }

// Hosts lists all hosts.
func (l *Lab) Hosts() []*Host {
	var all []*Host
	for _, name := range l.order {
		all = append(all, l.hosts[name])
	}
	return all
}

// Close ends all that runs in the lab and removes it.
func (l *Lab) Close() error {
	var errs []error
	for _, h := range l.Hosts() {
		errs = append(errs, h.Kill())
	}
	for i := len(l.closers) - 1; i >= 0; i-- {
		errs = append(errs, l.closers[i]())
	}
	l.closers = nil
	for _, h := range l.Hosts() {
		errs = append(errs, h.ns.Close())
	}
	l.order = nil
	if l.ownDir {
		errs = append(errs, os.RemoveAll(l.dir))
	}
	return errors.Join(errs...)
}

// onClose has f called by Close, last first.
func (l *Lab) onClose(f func() error) { l.closers = append(l.closers, f) }

// Logf tells those who watch the lab being made of a step.
func (l *Lab) Logf(format string, args ...any) {
	fmt.Fprintf(l.options.Log, format+"\n", args...)
}
