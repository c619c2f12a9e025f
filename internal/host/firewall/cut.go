package firewall

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// mostWalks bounds how often the kernel goes through its conntrack table to
// delete by mark. Beyond it is cheaper to read the table once.
const mostWalks = 16

// fewWalks is how often it may do so without our asking first whether there is so
// little to delete that one walk will do, and fewFlows how many connections are
// as quickly deleted one by one.
const (
	fewWalks = 2
	fewFlows = 2048
)

// DeleteForwards cuts all connections of the gate's forwards of these numbers,
// of both families. Visitors then get what the gate answers to strangers. The
// forwards of the numbers in living keep theirs, and nothing else is touched:
// connections are told apart by their mark.
//
// What that costs does not grow with the number of forwards: numbers are given
// out one after the other, so few blocks of them hold all that are gone, and
// the kernel deletes a block in one walk. Where they are too scattered for that,
// or have few connections, the table is read once.
func DeleteForwards(marks plan.Marks, gone, living []uint32) error {
	// Without a mark the kernel would take the message to mean every
	// connection there is.
	if marks.Forward == 0 || slices.Contains(gone, 0) {
		return fmt.Errorf("forwards %d with mark %s: all must be other than 0", gone, hex32(marks.Forward))
	}
	blocks := cover(gone, living)
	if len(blocks) == 0 {
		return nil
	}
	all, few, err := fewOf(marks, gone, blocks)
	if err != nil {
		return err
	}
	conn, err := netfilter.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if all {
		return deleteListed(conn, few)
	}
	if len(blocks) > mostWalks {
		isGone, around := marked(marks, gone), around(gone)
		return deleteFlows(conn, marks.Forward|around.first, around.mask, func(f netfilter.Flow) bool { return isGone[f.Mark] })
	}
	for _, b := range blocks {
		if err := b.delete(conn, marks); err != nil {
			return err
		}
	}
	return nil
}

// fewOf returns the connections of forwards that are gone, if those are few and
// it would take several walks to delete them.
func fewOf(marks plan.Marks, gone []uint32, blocks []block) (all bool, few []netfilter.Flow, err error) {
	if len(blocks) <= fewWalks || len(blocks) > mostWalks {
		return false, nil, nil
	}
	around := around(gone)
	few, all, err = netfilter.ListFlows(marks.Forward|around.first, around.mask, fewFlows)
	isGone := marked(marks, gone)
	return all && err == nil, slices.DeleteFunc(few, func(f netfilter.Flow) bool { return !isGone[f.Mark] }), err
}

// marked are the marks of forwards.
func marked(marks plan.Marks, ids []uint32) map[uint32]bool {
	set := make(map[uint32]bool, len(ids))
	for _, id := range ids {
		set[marks.Forward|id] = true
	}
	return set
}

// Change is a forward that stays and is another than before.
type Change struct{ Before, After forward.Grant }

// DeleteNotCarried cuts those connections of changed forwards that the changed
// ones carry no longer, or elsewhere. Those that they do carry go on: a forward
// that loses a port, a family or some of its visitors keeps the others.
func DeleteNotCarried(marks plan.Marks, changes []Change) error {
	if len(changes) == 0 {
		return nil
	}
	conn, err := netfilter.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	byMark := make(map[uint32]Change, len(changes))
	for _, c := range changes {
		byMark[marks.Forward|c.Before.ID] = c
	}
	return deleteFlows(conn, marks.Forward, marks.Mask, func(f netfilter.Flow) bool {
		c, changed := byMark[f.Mark]
		return changed && !c.carries(f)
	})
}

// carries reports whether the forward carries a flow of before as it did.
func (c Change) carries(f netfilter.Flow) bool {
	before, after := c.Before.Target4, c.After.Target4
	if f.Dst.Is6() {
		before, after = c.Before.Target6, c.After.Target6
	}
	allowed := len(c.After.Allow) == 0 || slices.ContainsFunc(c.After.Allow, func(p netip.Prefix) bool { return p.Contains(f.Src) })
	return after.IsValid() && after == before && c.After.Masquerade == c.Before.Masquerade &&
		allowed && forward.NewPortSet(c.After.Ports...).Contains(f.Port)
}

// DeleteUnforwarded forgets UDP flows to public addresses and ports that are
// not a forward's. A visitor whose packets were coming before the forward was
// there then reaches it with the next: translation is decided with the first
// packet of what conntrack takes for one connection. TCP needs no help: who
// tries again begins a new connection, and one that stands is somebody's.
//
// All forwards that are new are dealt with at once, and the kernel leaves our
// own connections out, of which there may be very many.
func DeleteUnforwarded(marks plan.Marks, ports forward.PortSet, public []netip.Addr) error {
	var meant [1 << 16]bool
	some := false
	for _, p := range ports {
		for port := int(p.Range.First); p.Protocol == forward.UDP && port <= int(p.Range.Last); port++ {
			meant[port], some = true, true
		}
	}
	if !some {
		return nil
	}
	conn, err := netfilter.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	others := func(f netfilter.Flow) bool {
		return f.Port.Protocol == forward.UDP && meant[f.Port.Range.First] && slices.Contains(public, f.Dst)
	}
	var failed []error
	// A mark is none of ours if it differs from ours in one of these bits. The
	// first in which it does is asked for, so that no flow is listed twice.
	for rest, above := marks.Mask, uint32(0); rest != 0; {
		bit := uint32(1) << (bits.Len32(rest) - 1)
		failed = append(failed, deleteFlows(conn, marks.Forward&above|^marks.Forward&bit, above|bit, others))
		rest, above = rest&^bit, above|bit
	}
	return errors.Join(failed...)
}

// deleteFlows deletes those of the flows with a mark that are meant.
func deleteFlows(conn *netlink.Conn, mark, mask uint32, meant func(netfilter.Flow) bool) error {
	var flows []netfilter.Flow
	err := netfilter.EachFlow(conn, mark, mask, func(f netfilter.Flow) {
		if meant(f) {
			flows = append(flows, f)
		}
	})
	if err != nil {
		return fmt.Errorf("cannot list connections: %w", err)
	}
	return deleteListed(conn, flows)
}

func deleteListed(conn *netlink.Conn, flows []netfilter.Flow) error {
	var failed []error
	for _, f := range flows {
		failed = append(failed, f.Delete(conn))
	}
	return errors.Join(failed...)
}

// around returns the smallest block that holds all these numbers.
func around(ids []uint32) block {
	first, last := slices.Min(ids), slices.Max(ids)
	mask := ^uint32(0) << bits.Len32(first^last)
	return block{first & mask, mask}
}

// block is all numbers of forwards that begin with the same bits.
type block struct{ first, mask uint32 }

// delete deletes the connections of the forwards in the block, in one message.
func (b block) delete(conn *netlink.Conn, marks plan.Marks) error {
	if err := netfilter.DeleteMarked(conn, marks.Forward|b.first, b.mask); err != nil {
		return fmt.Errorf("cannot delete the connections of forwards %d to %d: %w", b.first, b.first|^b.mask, err)
	}
	return nil
}

// cover returns blocks that hold all numbers that are gone and none that lives.
// What else they hold are numbers of nobody's.
func cover(gone, living []uint32) []block {
	return block{0, ^uint32(forward.MaxID)}.cover(gone, living)
}

func (b block) cover(gone, living []uint32) []block {
	gone, living = b.within(gone), b.within(living)
	switch {
	case len(gone) == 0:
		return nil
	case len(living) == 0:
		return []block{b}
	case b.mask == ^uint32(0): // one that is gone and lives is alive
		return nil
	}
	low := block{b.first, b.mask>>1 | 1<<31}
	high := block{b.first | (b.mask ^ low.mask), low.mask}
	return append(low.cover(gone, living), high.cover(gone, living)...)
}

// within returns those of the numbers that are in the block.
func (b block) within(ids []uint32) []uint32 {
	var in []uint32
	for _, id := range ids {
		if id&b.mask == b.first {
			in = append(in, id)
		}
	}
	return in
}
