package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// guardRules is what a guard is made from.
type guardRules struct {
	table    string // the main table's name
	tunnel   string
	accepted uint32       // the bit that accepting rules of the main table set
	own      []netip.Addr // at home: our addresses in the tunnel
}

func newGuardRules(want plan.Firewall) (guardRules, error) {
	r := guardRules{table: want.Table}
	switch {
	case want.Gate != nil:
		r.tunnel, r.accepted = want.Gate.Interface, want.Gate.Marks.AcceptedBit
	case want.Home != nil:
		r.tunnel, r.accepted, r.own = want.Home.Interface, want.Home.Marks.AcceptedBit, want.Home.Addresses
	}
	if err := checkTableName(r.table); err != nil {
		return r, err
	}
	return r, checkInterfaceName(r.tunnel)
}

// guardBase is a base chain of a guard, of type filter.
type guardBase struct {
	name     string
	hook     uint32
	priority int32
	rules    [][]expression
}

// bases are the chains of the guard. They stand around those of the main table
// that filter, which have priority -5 (inputHook): before them it takes away
// the mark of those that accept, which another table may have restored from a
// connection, and after them it asks for it. At home it also keeps answers from
// leaving by another way, after conntrack has given them the tunnel's address.
func (r guardRules) bases() []guardBase {
	const before, after, last = -6, -4, 301
	unmark, shut := r.unmark(), r.shut()
	list := []guardBase{
		{"before_input", unix.NF_INET_LOCAL_IN, before, unmark[:1]},
		{"before_forward", unix.NF_INET_FORWARD, before, unmark},
		{"input", unix.NF_INET_LOCAL_IN, after, shut[:1]},
		{"forward", unix.NF_INET_FORWARD, after, shut},
	}
	if len(r.own) > 0 {
		list = append(list, guardBase{"leaving", unix.NF_INET_POST_ROUTING, last, r.keepIn()})
	}
	return list
}

// unmark and shut are first about what comes from the tunnel, then about what
// goes into it.
func (r guardRules) unmark() [][]expression {
	name := equals(interfaceName(r.tunnel))
	unset := []expression{loadMeta(unix.NFT_META_MARK), keepBits(^r.accepted), setMark()}
	return [][]expression{
		append([]expression{loadMeta(unix.NFT_META_IIFNAME), name}, unset...),
		append([]expression{loadMeta(unix.NFT_META_OIFNAME), name}, unset...),
	}
}

func (r guardRules) shut() [][]expression {
	name := equals(interfaceName(r.tunnel))
	drop := append([]expression{loadMeta(unix.NFT_META_MARK), keepBits(r.accepted), equals(make([]byte, 4))}, dropCounted(countTunnel)...)
	return [][]expression{
		append([]expression{loadMeta(unix.NFT_META_IIFNAME), name}, drop...),
		append([]expression{loadMeta(unix.NFT_META_OIFNAME), name}, drop...),
	}
}

// keepIn knows an answer by its source, or, where nothing translates that any
// longer, by what the connection was made to.
func (r guardRules) keepIn() [][]expression {
	elsewhere := []expression{
		loadMeta(unix.NFT_META_OIFNAME), differs(interfaceName(r.tunnel)),
		loadMeta(unix.NFT_META_OIFNAME), differs(interfaceName("lo")),
	}
	var list [][]expression
	for _, a := range r.own {
		list = append(list,
			slices.Concat(elsewhere, hasSource(a), dropCounted(countLeaked)),
			slices.Concat(elsewhere, answersFor(a), dropCounted(countLeaked)))
	}
	return list
}

// comment is what nft(8) shows of the table, and by what we know our own.
func (r guardRules) comment() string {
	return fmt.Sprintf("Gatelodge: shuts the tunnel while table %s is away; do not save [%s]", r.table, fingerprint(fmt.Sprint(guardShape, r)))
}

// guardShape changes whenever this program makes other rules of the same facts.
const guardShape = 1

// Numbers of linux/netfilter/nf_tables.h and libnftnl/udata.h that the library
// does not have.
const (
	tableUserData = 6 // NFTA_TABLE_USERDATA
	tableOwner    = 7 // NFTA_TABLE_OWNER
	flagOwner     = 2 // NFT_TABLE_F_OWNER
	userComment   = 0 // NFTNL_UDATA_TABLE_COMMENT
)

// userData is a table's comment the way libnftnl writes it: type, length, text.
func userData(comment string) []byte {
	return append([]byte{userComment, byte(len(comment) + 1)}, comment+"\x00"...)
}

// messages make the table, which must not stand.
func (r guardRules) messages() ([]netlink.Message, error) {
	table := GuardTable(r.table)
	list := []guardMessage{{unix.NFT_MSG_NEWTABLE, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_TABLE_NAME, table)
		e.Uint32(unix.NFTA_TABLE_FLAGS, flagOwner)
		e.Bytes(tableUserData, userData(r.comment()))
	}}}
	for _, name := range []string{countTunnel, countLeaked} {
		list = append(list, newCounter(table, name))
	}
	for _, c := range r.bases() {
		list = append(list, newBase(table, c))
		for _, x := range c.rules {
			list = append(list, newRule(table, c.name, x))
		}
	}
	return encodeAll(list)
}

// guardMessage is a message to nf_tables.
type guardMessage struct {
	kind netlink.HeaderType
	data func(*netlink.AttributeEncoder)
}

func encodeAll(list []guardMessage) ([]netlink.Message, error) {
	var all []netlink.Message
	for _, m := range list {
		e := netlink.NewAttributeEncoder()
		e.ByteOrder = binary.BigEndian
		m.data(e)
		data, err := e.Encode()
		if err != nil {
			return nil, err
		}
		kind := unix.NFNL_SUBSYS_NFTABLES<<8 | m.kind
		all = append(all, netfilter.Message(kind, netlink.Acknowledge|netlink.Create|netlink.Append, unix.NFPROTO_INET, data))
	}
	return all, nil
}

func newCounter(table, name string) guardMessage {
	return guardMessage{unix.NFT_MSG_NEWOBJ, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_OBJ_TABLE, table)
		e.String(unix.NFTA_OBJ_NAME, name)
		e.Uint32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER)
		e.Nested(unix.NFTA_OBJ_DATA, func(*netlink.AttributeEncoder) error { return nil })
	}}
}

func newBase(table string, c guardBase) guardMessage {
	return guardMessage{unix.NFT_MSG_NEWCHAIN, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_CHAIN_TABLE, table)
		e.String(unix.NFTA_CHAIN_NAME, c.name)
		e.String(unix.NFTA_CHAIN_TYPE, "filter")
		e.Uint32(unix.NFTA_CHAIN_POLICY, verdictAccept)
		e.Nested(unix.NFTA_CHAIN_HOOK, func(e *netlink.AttributeEncoder) error {
			e.Uint32(unix.NFTA_HOOK_HOOKNUM, c.hook)
			e.Int32(unix.NFTA_HOOK_PRIORITY, c.priority)
			return nil
		})
	}}
}

func newRule(table, chain string, steps []expression) guardMessage {
	return guardMessage{unix.NFT_MSG_NEWRULE, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_RULE_TABLE, table)
		e.String(unix.NFTA_RULE_CHAIN, chain)
		e.Nested(unix.NFTA_RULE_EXPRESSIONS, func(e *netlink.AttributeEncoder) error {
			for _, x := range steps {
				x.encode(e)
			}
			return nil
		})
	}}
}
