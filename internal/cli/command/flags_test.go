package command

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// What a flag is by default is what help shows.
func TestFlagsShowWhatTheyAreWithout(t *testing.T) {
	var text string
	var span time.Duration
	var port uint16
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	Text(fs, &text, "text", "usual", "")
	Duration(fs, &span, "span", 24*time.Hour, "")
	Duration(fs, &span, "brief", 90*time.Second, "")
	Port(fs, &port, "port", "", 55107, "")
	for name, want := range map[string]string{"text": "usual", "span": "24h", "brief": "90s", "port": "55107"} {
		if got := fs.Lookup(name).DefValue; got != want {
			t.Errorf("--%s: %q, not %q", name, got, want)
		}
	}
	if text != "usual" || span != 90*time.Second || port != 55107 {
		t.Errorf("%q, %s, %d", text, span, port)
	}
}

// A list may be joined by commas, repeated, or both; no part of it is empty.
func TestLists(t *testing.T) {
	for _, c := range []struct {
		args []string
		want int // -1: an error
	}{{[]string{"--l", "a,b", "--l", "c"}, 3}, {[]string{"--l", "a, b"}, 2}, {[]string{"--l", ""}, -1}, {[]string{"--l", "a,"}, -1}, {[]string{"--l", " "}, -1}} {
		var list []string
		fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
		List(fs, &list, "l", "", nil)
		if err := fs.Parse(c.args); (err != nil) != (c.want < 0) || err == nil && len(list) != c.want {
			t.Errorf("%q: %q, %v", c.args, list, err)
		}
	}
}
