package key

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
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
	maxEndpoint   = 80
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
		return Invite{}, err
	}
	raw, err := crockford.DecodeString(data)
	if err != nil || len(raw) <= checkSize {
		return Invite{}, errors.New("the invite is incomplete: copy it whole, from GL1 to the last letter")
	}
	payload, check := raw[:len(raw)-checkSize], raw[len(raw)-checkSize:]
	if want := sha256.Sum256(payload); string(want[:checkSize]) != string(check) {
		return Invite{}, errors.New("the invite's checksum does not match: a group is missing, doubled or out of order; copy it whole")
	}
	return unmarshalInvite(payload)
}

// foldInvite returns the letters behind the tag, in the one alphabet.
func foldInvite(text string) (string, error) {
	var b strings.Builder
	for _, r := range strings.ToUpper(text) {
		switch r {
		case ' ', '\t', '\r', '\n', '-':
			continue
		}
		b.WriteRune(r)
	}
	letters, tagged := strings.CutPrefix(b.String(), inviteTag)
	if !tagged {
		return "", errors.New("this is not an invite: an invite starts with GL1-")
	}
	return strings.NewReplacer("O", "0", "I", "1", "L", "1").Replace(letters), nil
}

// checkGroups verifies every group's check letter and returns the data
// letters.
func checkGroups(letters string) (string, error) {
	var data strings.Builder
	number := 0
	for group := range splitGroups(letters, groupSize) {
		number++
		for _, r := range group {
			if !strings.ContainsRune(alphabet, r) {
				return "", fmt.Errorf("the invite is mistyped in group %d after GL1: the character %q does not occur in invites", number, r)
			}
		}
		body, check := group[:len(group)-1], group[len(group)-1]
		if body == "" || groupCheck(body) != check {
			return "", fmt.Errorf("the invite is mistyped in group %d after GL1: compare its %d letters with the original", number, groupSize)
		}
		data.WriteString(body)
	}
	return data.String(), nil
}

// groupCheck weighs each letter by its place, so that a wrong letter and most
// swaps of two change it.
func groupCheck(group string) byte {
	sum := 0
	for i := range len(group) {
		sum += (2*i + 1) * strings.IndexByte(alphabet, group[i])
	}
	return alphabet[sum%len(alphabet)]
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

func (v Invite) marshal() ([]byte, error) {
	if !v.GateAddress.Is4() || !v.Address.Is4() {
		return nil, errors.New("an invite needs the tunnel's IPv4 addresses")
	}
	if len(v.Endpoints) == 0 || len(v.Endpoints) > maxEndpoints {
		return nil, fmt.Errorf("an invite needs 1 to %d endpoints, not %d", maxEndpoints, len(v.Endpoints))
	}
	secret, gate, home := v.Secret.Reveal(), v.GateAddress.As4(), v.Address.As4()
	b := []byte{inviteVersion}
	b = append(b, secret[:]...)
	b = append(b, v.Gate[:]...)
	b = append(b, gate[:]...)
	b = append(b, home[:]...)
	b = append(b, byte(v.PrefixBits))
	b = binary.BigEndian.AppendUint16(b, v.ControlPort)
	for _, e := range v.Endpoints {
		packed, err := packEndpoint(e)
		if err != nil {
			return nil, err
		}
		b = append(b, packed...)
	}
	return b, nil
}

// The kinds of endpoint in an invite: an address with its port, or a name.
const (
	endpointIPv4 = 4
	endpointIPv6 = 6
	endpointName = 'n'
)

func packEndpoint(e string) ([]byte, error) {
	if a, err := netip.ParseAddrPort(e); err == nil && a.Addr().Zone() == "" {
		kind := byte(endpointIPv6)
		if a.Addr().Is4() {
			kind = endpointIPv4
		}
		b := append([]byte{kind}, a.Addr().AsSlice()...)
		return binary.BigEndian.AppendUint16(b, a.Port()), nil
	}
	if len(e) == 0 || len(e) > maxEndpoint {
		return nil, fmt.Errorf("endpoint %.20q… has %d characters; an invite holds names of at most %d", e, len(e), maxEndpoint)
	}
	return append([]byte{endpointName, byte(len(e))}, e...), nil
}

var errInvite = errors.New("the invite was made by another version of gatelodge, or for something else: make a new one on the gate")

func unmarshalInvite(b []byte) (Invite, error) {
	const fixed = 1 + secretSize + Size + 4 + 4 + 1 + 2
	if len(b) < fixed || b[0] != inviteVersion {
		return Invite{}, errInvite
	}
	take := func(n int) []byte {
		head := b[:n]
		b = b[n:]
		return head
	}
	take(1)
	v := Invite{
		Secret:      Secret{[secretSize]byte(take(secretSize))},
		Gate:        Public(take(Size)),
		GateAddress: netip.AddrFrom4([4]byte(take(4))),
		Address:     netip.AddrFrom4([4]byte(take(4))),
		PrefixBits:  int(take(1)[0]),
		ControlPort: binary.BigEndian.Uint16(take(2)),
	}
	endpoints, err := unpackEndpoints(b)
	if err != nil || v.PrefixBits > 32 || v.ControlPort == 0 {
		return Invite{}, errInvite
	}
	v.Endpoints = endpoints
	return v, nil
}

func unpackEndpoints(b []byte) ([]string, error) {
	var endpoints []string
	for len(b) > 0 && len(endpoints) < maxEndpoints {
		size := map[byte]int{endpointIPv4: 4 + 2, endpointIPv6: 16 + 2}[b[0]]
		isName := b[0] == endpointName && len(b) > 1
		if isName {
			size = 1 + int(b[1])
		}
		if size == 0 || len(b) < 1+size {
			return nil, errInvite
		}
		body := b[1 : 1+size]
		b = b[1+size:]
		if isName {
			endpoints = append(endpoints, string(body[1:]))
			continue
		}
		addr, _ := netip.AddrFromSlice(body[:len(body)-2])
		endpoints = append(endpoints, netip.AddrPortFrom(addr, binary.BigEndian.Uint16(body[len(body)-2:])).String())
	}
	if len(endpoints) == 0 || len(b) > 0 {
		return nil, errInvite
	}
	return endpoints, nil
}
