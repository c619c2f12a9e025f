package remote

import "testing"

func TestDestinations(t *testing.T) {
	for _, d := range []string{
		"root@vps", "vps.example", "ssh://root@198.51.100.1:2222", "ssh://[2001:db8::1]:22", "root@2001:db8::1", "ssh://me@x/",
	} {
		if err := CheckDestination(d); err != nil {
			t.Errorf("%s: %v", d, err)
		}
	}
	for _, d := range []string{"", "-oProxyCommand=x", "a b", "ssh://", "ssh://x/y", "$(x)", "a'b"} {
		if CheckDestination(d) == nil {
			t.Errorf("%q is accepted", d)
		}
	}
}

func TestQuote(t *testing.T) {
	if got, want := Quote("a", "", "b c", "it's", "$x", "/usr/bin"), `a '' 'b c' 'it'\''s' '$x' /usr/bin`; got != want {
		t.Errorf("got %s, wanted %s", got, want)
	}
}
