package key

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// Invite is everything a home needs to enrol at a gate.
type Invite struct {
	Secret      Secret
	Gate        Public     // the gate's public key
	GateAddress netip.Addr // the gate's IPv4 address in the tunnel
	Address     netip.Addr // the IPv4 address in the tunnel that goes with the one-time key
	PrefixBits  int        // length of the tunnel's IPv4 prefix
	ControlPort uint16
	Endpoints   []string // HOST:PORT where the gate listens for WireGuard, best first
}

// The text of an invite is inviteTag followed by groups of groupSize letters
// of Crockford's base32, the last letter of a group a check on that group, so
// that a slip of the pen can be named by its place. The payload ends with
// checkSize bytes of SHA-256 over the rest.
const (
	inviteTag     = "GL1"
	inviteVersion = 1
	groupSize     = 8
	checkSize     = 5
	alphabet      = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	maxEndpoints  = 4
	maxInvite     = 1200 // characters: far more than the longest invite, reached before any work is done
)

var crockford = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// Encode returns the invite's text: upper case letters, digits and hyphens,
// so that a QR code can use its alphanumeric mode. It is a secret.
func (v Invite) Encode() (string, error) {
	payload, err := v.marshal()
	if err != nil {
		return "", err
	}
	check := sha256.Sum256(payload)
	letters := crockford.EncodeToString(append(payload, check[:checkSize]...))
	var text strings.Builder
	text.WriteString(inviteTag)
	for group := range splitGroups(letters, groupSize-1) {
		text.WriteByte('-')
		text.WriteString(group)
		text.WriteByte(groupCheck(group))
	}
	return text.String(), nil
}

// ParseInvite reads an invite. It forgives what a person or a terminal may do
// to it: lower case, spaces, line breaks, missing hyphens, and the letters O,
// I and L for the digits 0 and 1. Errors never repeat the invite.
func ParseInvite(text string) (Invite, error) {
	if len(text) > maxInvite {
		return Invite{}, fmt.Errorf("an invite has at most %d characters, this text has %d", maxInvite, len(text))
	}
	letters, err := foldInvite(text)
	if err != nil {
		return Invite{}, err
	}
	data, err := checkGroups(letters)
	if err != nil {
		return Invite{}, unevenGroup(text, err)
	}
	raw, err := crockford.DecodeString(data)
	if err != nil || len(raw) <= checkSize {
		return Invite{}, unevenGroup(text, errors.New("the invite is incomplete: copy it whole, from GL1 to the last letter"))
	}
	payload, check := raw[:len(raw)-checkSize], raw[len(raw)-checkSize:]
	want := sha256.Sum256(payload)
	// The last letter may have bits that the payload does not reach: an
	// invite has one spelling, so those are checked too.
	if string(want[:checkSize]) != string(check) || crockford.EncodeToString(raw) != data {
		return Invite{}, unevenGroup(text, errors.New("the invite's checksum does not match: a group is missing, doubled or out of order; copy it whole"))
	}
	return unmarshalInvite(payload)
}

// ignored reports whether a character means nothing in an invite: white
// space, hyphens and dashes, and invisible ones that come with a paste.
func ignored(r rune) bool {
	return unicode.IsSpace(r) || unicode.In(r, unicode.Pd, unicode.Cf)
}

// fold returns the one spelling of a character: upper case, and digits for
// the letters that look like them.
func fold(r rune) rune {
	switch r = unicode.ToUpper(r); r {
	case 'O':
		return '0'
	case 'I', 'L':
		return '1'
	default:
		return r
	}
}

// foldInvite returns the letters behind the tag, in the one alphabet.
func foldInvite(text string) (string, error) {
	var all []rune
	for _, r := range text {
		if !ignored(r) {
			all = append(all, fold(r))
		}
	}
	letters, tagged := strings.CutPrefix(string(all), strings.Map(fold, inviteTag))
	if !tagged {
		return "", errors.New("this is not an invite: an invite starts with GL1-")
	}
	place := 0
	for _, r := range letters {
		if !strings.ContainsRune(alphabet, r) {
			return "", fmt.Errorf("the invite is mistyped in group %d after GL1: the character %q does not occur in invites", place/groupSize+1, r)
		}
		place++
	}
	return letters, nil
}

// checkGroups verifies every group's check letter and returns the data
// letters.
func checkGroups(letters string) (string, error) {
	var data strings.Builder
	number := 0
	for group := range splitGroups(letters, groupSize) {
		number++
		body, check := group[:len(group)-1], group[len(group)-1]
		if body == "" || groupCheck(body) != check {
			return "", fmt.Errorf("the invite is mistyped in group %d after GL1: compare its %d letters with the original", number, groupSize)
		}
		data.WriteString(body)
	}
	return data.String(), nil
}

// unevenGroup names the group that has lost or gained a letter, if the text
// still has the hyphens that show it. Without them every letter behind has
// moved, and the check that fails first may be that of a later group.
func unevenGroup(text string, err error) error {
	groups := strings.FieldsFunc(text, func(r rune) bool { return unicode.Is(unicode.Pd, r) })
	for i, group := range groups {
		n := 0
		for _, r := range group {
			if !ignored(r) {
				n++
			}
		}
		switch inner := i > 0 && i < len(groups)-1; {
		case !inner || n == groupSize:
		case n < groupSize-2 || n > groupSize+2:
			return err // hyphens are missing too
		default:
			return fmt.Errorf("the invite is mistyped in group %d after GL1: it has %d letters, and a group has %d", i, n, groupSize)
		}
	}
	return err
}

// groupCheck weighs each letter by a power of x in the field of 32 elements
// (modulo x⁵+x²+1). The weights all differ, and none is that of the check
// itself: every wrong letter and every swap of two within a group shows.
func groupCheck(group string) byte {
	sum := 0
	for i := range len(group) {
		sum = (sum ^ strings.IndexByte(alphabet, group[i])) << 1
		if sum&32 != 0 {
			sum ^= 0b100101
		}
	}
	return alphabet[sum]
}

func splitGroups(s string, size int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for len(s) > 0 {
			n := min(size, len(s))
			if !yield(s[:n]) {
				return
			}
			s = s[n:]
		}
	}
}
