package config

import (
	"fmt"
	"strings"
	"testing"
)

// apart writes n ranges of one protocol that do not touch.
func apart(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"%d/tcp"`, 1000+2*i))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// prefixes writes n prefixes that take as much room as any.
func prefixes(n, from int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"2001:db8:1111:1111:1111:1111:%x:1111/128"`, 0x1000+from+i))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// What a gate takes from no home is told by check, where it is written.
func TestMoreThanAGateTakes(t *testing.T) {
	one := func(lines string) string { return "version = 1\n[forward.web]\n" + lines }
	var many, large strings.Builder
	many.WriteString("version = 1\n")
	for i := range 1025 {
		fmt.Fprintf(&many, "[forward.f%d]\nports = \"%d/tcp\"\n", i, i+1)
	}
	large.WriteString("version = 1\n")
	for i := range 26 {
		fmt.Fprintf(&large, "[forward.f%d]\nports = \"%d/tcp\"\nallow = %s\n", i, i+1, prefixes(256, 0))
	}
	for name, c := range map[string]struct{ text, place, want string }{
		"ports":          {one("ports = " + apart(65)), "home.toml:3:9:", "1 to 64 port ranges, not 65; write ranges"},
		"both protocols": {one("ports = " + strings.ReplaceAll(apart(33), "/tcp", "")), "home.toml:3:9:", "not 66"},
		"allow":          {one("ports = \"443\"\nallow = " + prefixes(257, 0)), "home.toml:4:9:", "at most 256 allowed prefixes, not 257; join them"},
		"forwards":       {many.String(), "home.toml:2:", "1025 forwards are more than the 1024"},
		"size":           {large.String(), "home.toml:2:", "join ports and allowed prefixes"},
		"connections":    {one("ports = \"443\"\nlimit = { connections = 1000001 }"), "home.toml:4:", "from 1 to 1000000"},
		"rate":           {one("ports = \"443\"\nlimit = { new_connections = \"1000001/second\" }"), "home.toml:4:", "at most 1000000"},
		"name":           {"version = 1\n[forward." + strings.Repeat("a", 41) + "]\nports = \"443\"", "home.toml:2:", "at most 40"},
	} {
		_, err := ParseHome("home.toml", []byte(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.place) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v, want it at %s with %q", name, err, c.place, c.want)
		}
	}
	for name, text := range map[string]string{
		"ports":        one("ports = " + apart(64)),
		"joined ports": one("ports = [" + strings.TrimSuffix(numbered(500, `"1%03d/tcp", `), ", ") + "]"),
		"allow":        one("ports = \"443\"\nallow = " + prefixes(256, 0)),
		"forwards":     many.String()[:strings.Index(many.String(), "[forward.f1024]")],
	} {
		if _, err := ParseHome("home.toml", []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
