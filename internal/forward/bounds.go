package forward

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// The bounds of what is published: the file, the wire and the gate's memory
// take the same, so that none of them refuses what another has called valid.
// MaxID, CheckName and ParseRate are bounds, too.
const (
	MaxForwards    = 1024      // of one home
	MaxPorts       = 64        // ranges of ports of one forward, those that touch joined
	MaxAllow       = 256       // prefixes of one forward's allow list
	MaxConnections = 1_000_000 // at once, from one visitor: far more than a home can serve
	// MaxSize bounds the Size of all forwards of one home, in bytes: it is what
	// a gate reads of one message, but for what is around the list.
	MaxSize = 256<<10 - 256
)

// ErrTooMany is in the chain of errors that say that a list as a whole is too
// long or too large, rather than that one forward is wrong.
var ErrTooMany = errors.New("too much to publish")

// CheckAll reports what is wrong with all that a home publishes: one of the
// forwards, two of one name, or the list as a whole.
func CheckAll(list []Published) error {
	if err := CheckCount(len(list)); err != nil {
		return err
	}
	names := make(map[string]bool, len(list))
	for i, p := range list {
		err := p.Check()
		if err == nil && names[p.Name] {
			err = fmt.Errorf("the name %q is taken by another forward", p.Name)
		}
		if err != nil {
			return fmt.Errorf("forward %d: %w", i+1, err)
		}
		names[p.Name] = true
	}
	return CheckSize(list)
}

// CheckCount reports that a home cannot publish that many forwards.
func CheckCount(n int) error {
	if n > MaxForwards {
		return fmt.Errorf("%w: %d forwards are more than the %d that a home can publish; join ports into ranges", ErrTooMany, n, MaxForwards)
	}
	return nil
}

// CheckSize reports that forwards which are valid each are too large together.
func CheckSize(list []Published) error {
	size := 0
	for _, p := range list {
		size += p.Size()
	}
	if size > MaxSize {
		return fmt.Errorf("%w: the forwards take %d bytes on their way to the gate, and it reads %d; join ports and allowed prefixes into ranges", ErrTooMany, size, MaxSize)
	}
	return nil
}

// Check reports what is wrong with a forward in itself.
func (p Published) Check() error {
	if err := CheckName(p.Name); err != nil {
		return err
	}
	if err := checkPorts(p.Ports); err != nil {
		return err
	}
	if p.Families == (Families{}) {
		return errors.New("a forward needs an address family: IPv4, IPv6 or both")
	}
	if err := p.checkAllow(); err != nil {
		return err
	}
	return p.Limit.Check()
}

// CheckPortCount reports that a forward cannot have that many ranges of ports.
func CheckPortCount(n int) error {
	if n == 0 || n > MaxPorts {
		return fmt.Errorf("a forward has 1 to %d port ranges, not %d", MaxPorts, n)
	}
	return nil
}

func checkPorts(ports []Ports) error {
	if err := CheckPortCount(len(ports)); err != nil {
		return err
	}
	for _, p := range ports {
		known := p.Protocol == TCP || p.Protocol == UDP
		if !known || p.Range.First == 0 || p.Range.First > p.Range.Last {
			return fmt.Errorf("%v is not a range of TCP or UDP ports", p)
		}
	}
	return nil
}

// CheckAllowCount reports that an allow list cannot have that many prefixes.
func CheckAllowCount(n int) error {
	if n > MaxAllow {
		return fmt.Errorf("a forward has at most %d allowed prefixes, not %d", MaxAllow, n)
	}
	return nil
}

func (p Published) checkAllow() error {
	if err := CheckAllowCount(len(p.Allow)); err != nil {
		return err
	}
	for _, a := range p.Allow {
		if !a.IsValid() || a != a.Masked() || a.Addr().Is4In6() {
			return fmt.Errorf("%v is not a network prefix", a)
		}
	}
	return nil
}

// Check reports that a limit is none that an owner can set.
func (l Limit) Check() error {
	if l.Connections > MaxConnections {
		return fmt.Errorf("a limit of %d connections is more than %d; leave it out for no limit", l.Connections, MaxConnections)
	}
	r := l.NewConnections
	if r == (Rate{}) {
		return nil
	}
	known := slices.ContainsFunc(rateUnits, func(u rateUnit) bool { return u.d == r.Per })
	if r.Count == 0 || r.Count > maxRate || !known {
		return fmt.Errorf("a rate of %d in %v is none of 1 to %d a second, minute, hour or day", r.Count, max(r.Per, time.Duration(0)), maxRate)
	}
	return nil
}

// Size is how many bytes the forward, its ports sorted and joined, takes in a
// message to the gate. The wire's tests hold it to the truth.
func (p Published) Size() int {
	size := len(`{"name":"","ports":[],"families":[]},`) + len(p.Name)
	for _, q := range p.Ports {
		size += len(`"",`) + len(q.String())
	}
	if p.Families.IPv4 {
		size += len(`"ipv4",`)
	}
	if p.Families.IPv6 {
		size += len(`"ipv6",`)
	}
	if p.Masquerade {
		size += len(`"masquerade":true,`)
	}
	if len(p.Allow) > 0 {
		size += len(`"allow":[],`)
	}
	for _, a := range p.Allow {
		size += len(`"",`) + len(a.String())
	}
	if rate := p.Limit.NewConnections.String(); rate != "" {
		size += len(`"new_connections":"",`) + len(rate)
	}
	if n := p.Limit.Connections; n > 0 {
		size += len(`"connections":,`) + len(strconv.FormatUint(uint64(n), 10))
	}
	return size
}
