package key

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testInvite() Invite {
	return Invite{
		Secret:      testSecret(),
		Gate:        testPrivate().Public(),
		GateAddress: netip.MustParseAddr("10.99.0.1"),
		Address:     netip.MustParseAddr("10.99.0.7"),
		PrefixBits:  24,
		ControlPort: 55108,
		Endpoints:   []string{"198.51.100.1:55107"},
	}
}

// sameInvite compares invites with what they hide.
var sameInvite = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b Secret) bool { return a == b }),
}

func encode(t testing.TB, v Invite) string {
	t.Helper()
	text, err := v.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestInviteRoundTrip(t *testing.T) {
	for _, endpoints := range [][]string{
		{"198.51.100.1:55107"},
		{"[2001:db8::1]:55107"},
		{"vps.example.org:55107", "198.51.100.1:1", "[2001:db8::1]:65535", strings.Repeat("a.", 36) + "org:443"},
	} {
		v := testInvite()
		v.Endpoints = endpoints
		got, err := ParseInvite(encode(t, v))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, got, sameInvite); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// An invite for one IPv4 endpoint stays short enough to be read out, and any
// invite is of the characters that a QR code packs best.
func TestInviteLength(t *testing.T) {
	text := encode(t, testInvite())
	if len(text) != 153 {
		t.Errorf("an invite has %d characters: %s", len(text), text)
	}
	const qr = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
	if rest := strings.Trim(text, qr); rest != "" {
		t.Errorf("%q is not alphanumeric", rest)
	}
	longest := testInvite()
	longest.Endpoints = nil
	for i := range maxEndpoints {
		longest.Endpoints = append(longest.Endpoints, strings.Repeat("a.", 37)+fmt.Sprintf("b:%d", 1000+i))
	}
	if n := len(encode(t, longest)); n > maxInvite {
		t.Errorf("the longest invite has %d characters, more than can be read", n)
	}
}

func TestInviteForgives(t *testing.T) {
	text := encode(t, testInvite())
	for name, variant := range map[string]string{
		"lower case":       strings.ToLower(text),
		"white space":      " \t" + text + "\r\n",
		"line breaks":      text[:50] + "\n    " + text[50:90] + "\r\n" + text[90:],
		"no hyphens":       strings.ReplaceAll(text, "-", ""),
		"spaces":           strings.ReplaceAll(text, "-", "  "),
		"other dashes":     strings.ReplaceAll(text, "-", "–"),
		"no-break spaces":  strings.ReplaceAll(text, "-", "\u00a0"),
		"invisible":        "\ufeff" + strings.ReplaceAll(text, "-", "-\u200b"),
		"O for 0":          "GL1" + strings.ReplaceAll(text[3:], "0", "O"),
		"I for 1":          strings.ReplaceAll(text, "1", "I"),
		"l for 1":          strings.ReplaceAll(text, "1", "l"),
		"hyphens anywhere": "G-L-1" + strings.Join(strings.Split(text[3:], ""), "-"),
	} {
		if got, err := ParseInvite(variant); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(testInvite(), got, sameInvite); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// groupOf returns the number that an error gives to the group of the letter
// at index i of an invite.
func groupOf(i int) int { return i / (groupSize + 1) }

func wantGroup(t *testing.T, what, text string, group int) {
	t.Helper()
	_, err := ParseInvite(text)
	if err == nil {
		t.Errorf("%s is not noticed", what)
		return
	}
	if want := fmt.Sprintf("in group %d after GL1", group); !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v; want %q", what, err, want)
	}
}

// Every wrong letter is noticed, and its group named.
func TestInviteOneLetterWrong(t *testing.T) {
	text := encode(t, testInvite())
	for i := len(inviteTag) + 1; i < len(text); i++ {
		if text[i] == '-' {
			continue
		}
		for _, r := range alphabet + "U?*é" {
			if byte(r) == text[i] && r < 0x80 {
				continue
			}
			wantGroup(t, fmt.Sprintf("%c at %d", r, i), text[:i]+string(r)+text[i+1:], groupOf(i-len(inviteTag)-1)+1)
		}
	}
}

// Every swap of two letters of a group is noticed, and the group named; so is
// every swap across the border of two.
func TestInviteSwappedLetters(t *testing.T) {
	text := encode(t, testInvite())
	swaps := 0
	for i := len(inviteTag) + 1; i < len(text); i++ {
		for j := i + 1; j < len(text) && j <= i+groupSize; j++ {
			if text[i] == text[j] || text[i] == '-' || text[j] == '-' {
				continue
			}
			swaps++
			b := []byte(text)
			b[i], b[j] = b[j], b[i]
			wantGroup(t, fmt.Sprintf("swap of %d and %d", i, j), string(b), groupOf(i-len(inviteTag)-1)+1)
		}
	}
	if swaps < 500 {
		t.Errorf("only %d swaps", swaps)
	}
}

// A letter left out or doubled is noticed, and its group named as long as the
// hyphens are there.
func TestInviteLetterMissingOrDoubled(t *testing.T) {
	text := encode(t, testInvite())
	last := strings.LastIndexByte(text, '-')
	for i := len(inviteTag) + 1; i < len(text); i++ {
		if text[i] == '-' {
			continue
		}
		missing, doubled := text[:i]+text[i+1:], text[:i]+text[i:i+1]+text[i:]
		if i < last {
			wantGroup(t, fmt.Sprintf("letter %d missing", i), missing, groupOf(i-len(inviteTag)-1)+1)
			wantGroup(t, fmt.Sprintf("letter %d doubled", i), doubled, groupOf(i-len(inviteTag)-1)+1)
			continue
		}
		for _, variant := range []string{missing, doubled} {
			if _, err := ParseInvite(variant); err == nil {
				t.Errorf("a change of letter %d is not noticed", i)
			}
		}
	}
}

func TestInviteCut(t *testing.T) {
	text := encode(t, testInvite())
	for i := range len(text) {
		if _, err := ParseInvite(text[:i]); err == nil {
			t.Errorf("cut after %d characters is not noticed", i)
		}
		if i > 0 {
			if _, err := ParseInvite(text[i:]); err == nil {
				t.Errorf("cut before character %d is not noticed", i)
			}
		}
	}
	groups := strings.Split(text, "-")
	for i := 1; i < len(groups); i++ {
		without := strings.Join(slices.Concat(groups[:i], groups[i+1:]), "-")
		if _, err := ParseInvite(without); err == nil {
			t.Errorf("group %d missing is not noticed", i)
		}
	}
}

func TestInviteErrorsKeepTheSecret(t *testing.T) {
	text := encode(t, testInvite())
	for _, variant := range []string{text[:len(text)-1], text[4:], strings.Replace(text, "-", "-X", 1), text + text, strings.Repeat(text, 20)} {
		_, err := ParseInvite(variant)
		if err == nil {
			t.Errorf("%q was accepted", variant)
			continue
		}
		for i := 4; i+groupSize < len(text); i++ {
			if strings.Contains(err.Error(), text[i:i+groupSize]) {
				t.Fatalf("the error repeats the invite: %v", err)
			}
		}
	}
}
