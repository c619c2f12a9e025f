package firewall

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// guardFound is what the kernel has of a table.
type guardFound struct {
	present bool
	name    string
	owner   uint32 // the port ID of the socket it belongs to; 0: anybody's
	comment string
}

// look asks for one table by its name.
func (s *ownerSocket) look(table string) (guardFound, error) {
	ask, err := tableMessage(unix.NFT_MSG_GETTABLE, table)
	if err != nil {
		return guardFound{}, err
	}
	ask.Header.Flags &^= netlink.Acknowledge
	answers, err := s.ask(ask)
	if errors.Is(err, unix.ENOENT) {
		return guardFound{}, nil
	}
	if err != nil {
		return guardFound{}, err
	}
	return foundIn(answers)
}

// others returns the tables of this socket under other names.
func (s *ownerSocket) others(table string) ([]string, error) {
	ask, err := tableMessage(unix.NFT_MSG_GETTABLE, "")
	if err != nil {
		return nil, err
	}
	ask.Header.Flags = netlink.Request | netlink.Dump
	answers, err := s.ask(ask)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, a := range answers {
		if a.Header.Type == netlink.Done {
			break
		}
		found, err := foundIn([]netlink.Message{a})
		if err != nil {
			return nil, err
		}
		if found.owner == s.port && found.name != table {
			names = append(names, found.name)
		}
	}
	return names, nil
}

func foundIn(answers []netlink.Message) (guardFound, error) {
	found := guardFound{present: true}
	err := netfilter.EachAttribute(answers, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case unix.NFTA_TABLE_NAME:
			found.name = d.String()
		case tableOwner:
			found.owner = d.Uint32()
		case tableUserData:
			found.comment = commentOf(d.Bytes())
		}
	})
	return found, err
}

// commentOf undoes userData.
func commentOf(data []byte) string {
	if len(data) < 3 || data[0] != userComment || int(data[1]) != len(data)-2 {
		return ""
	}
	return string(data[2 : len(data)-1])
}

// tableMessage is about one table, or with "" about all.
func tableMessage(kind netlink.HeaderType, table string) (netlink.Message, error) {
	list, err := encodeAll([]guardMessage{{kind, func(e *netlink.AttributeEncoder) {
		if table != "" {
			e.String(unix.NFTA_TABLE_NAME, table)
		}
	}}})
	if err != nil {
		return netlink.Message{}, err
	}
	list[0].Header.Flags = netlink.Request | netlink.Acknowledge
	return list[0], nil
}

// raise makes the table, in the place of what stands under its name.
func (s *ownerSocket) raise(rules guardRules) error {
	messages, err := rules.messages()
	if err != nil {
		return err
	}
	found, err := s.look(GuardTable(rules.table))
	if err != nil {
		return err
	}
	gone, err := s.others(GuardTable(rules.table)) // of an interface that has another name now
	if err != nil {
		return err
	}
	if found.present {
		gone = append(gone, found.name)
	}
	for _, name := range gone {
		m, err := tableMessage(unix.NFT_MSG_DELTABLE, name)
		if err != nil {
			return err
		}
		messages = append([]netlink.Message{m}, messages...)
	}
	switch err := s.transact(messages); {
	case errors.Is(err, unix.EPERM) && found.owner != 0:
		return fmt.Errorf("%w (%w)", ErrOwned, err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return s.explain(messages[:len(gone)+1], rules.table, err)
	default:
		return err
	}
}

// explain tells a kernel whose tables have no owners from one that refuses
// something else of the guard: by the table alone, with nothing in it.
func (s *ownerSocket) explain(bare []netlink.Message, table string, cause error) error {
	if err := s.transact(bare); err != nil {
		return fmt.Errorf("%w (%w)", errNoOwners, cause)
	}
	return errors.Join(fmt.Errorf("the kernel refuses the guard's rules: %w", cause), s.lower(GuardTable(table)))
}

// lower deletes the table.
func (s *ownerSocket) lower(table string) error {
	gone, err := tableMessage(unix.NFT_MSG_DELTABLE, table)
	if err != nil {
		return err
	}
	switch err := s.transact([]netlink.Message{gone}); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("cannot remove the table %s: %w (%w)", table, ErrOwned, err)
	default:
		return err
	}
}
