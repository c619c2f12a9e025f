package netfilter

import (
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Generation returns the number of this network namespace's ruleset: another
// one after each transaction, by anybody, of any table.
func Generation() (uint32, error) {
	conn, err := Dial()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return generation(conn)
}

// generationTime bounds how long the kernel may take to tell it.
const generationTime = 5 * time.Second

// GenerationBy asks by a connection that lasts. After an error the connection is
// of no use: an answer that comes late would be taken for that to the next
// question.
func GenerationBy(conn *netlink.Conn) (uint32, error) {
	if err := conn.SetDeadline(time.Now().Add(generationTime)); err != nil {
		return 0, err
	}
	return generation(conn)
}

func generation(conn *netlink.Conn) (uint32, error) {
	answers, err := conn.Execute(Message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0, unix.AF_UNSPEC, nil))
	if err != nil {
		return 0, fmt.Errorf("cannot read the generation of nf_tables: %w", err)
	}
	var number uint32
	told := false
	err = EachAttribute(answers, func(d *netlink.AttributeDecoder) {
		if d.Type() == unix.NFTA_GEN_ID {
			number, told = d.Uint32(), true
		}
	})
	if err == nil && !told {
		err = errors.New("the kernel does not say the generation of nf_tables")
	}
	return number, err
}

// Steadily repeats a read of several steps while somebody, of whatever table,
// has changed nf_tables meanwhile: the kernel would then skip entries. On a
// machine whose rules change without end it makes do with the last read. It
// returns the generation that was read; steady is false where there is none.
func Steadily(read func() error) (at uint32, steady bool, err error) {
	const attempts = 5
	for range attempts {
		before, err := Generation()
		if err != nil {
			return 0, false, err
		}
		if err := read(); err != nil {
			return 0, false, err
		}
		after, err := Generation()
		if err != nil || before == after {
			return after, err == nil, err
		}
	}
	return 0, false, nil
}
