package firewall

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// rulesetFiles are what systems load rulesets from, as nft(8) is packaged by
// Debian and Arch, by Fedora, and by Alpine.
var rulesetFiles = []string{"/etc/nftables.conf", "/etc/sysconfig/nftables.conf", "/etc/nftables.nft", "/etc/nftables.d/*", "/etc/nftables/*"}

// What is read of those files at most: they may be anything.
const (
	mostFiles = 64
	mostBytes = 1 << 20 // of each
)

// SavedGuards returns where files that a system loads its ruleset from hold a
// copy of the named table's guard: somebody has saved all tables (nft list
// ruleset > /etc/nftables.conf). While the guard stands, the kernel refuses
// such a file whole. Files that cannot be read hold none. root is where the
// machine's files are, "/" but for tests.
func SavedGuards(root, table string) []string {
	var places, seen []string
	waiting := slices.Clone(rulesetFiles)
	for len(waiting) > 0 && len(seen) < mostFiles {
		files, _ := filepath.Glob(filepath.Join(root, waiting[0])) // a bad pattern matches nothing
		waiting = waiting[1:]
		for _, name := range files {
			if slices.Contains(seen, name) || len(seen) == mostFiles {
				continue
			}
			seen = append(seen, name)
			line, included := scanRuleset(name, GuardTable(table))
			if line > 0 {
				places = append(places, fmt.Sprintf("%s:%d", name, line))
			}
			for _, i := range included {
				if !filepath.IsAbs(i) {
					i = filepath.Join("/etc", i) // where nft(8) looks for them
				}
				waiting = append(waiting, i)
			}
		}
	}
	return places
}

var includePattern = regexp.MustCompile(`^\s*include\s+"([^"]+)"`)

// scanRuleset returns the line, from 1, at which a file begins the table of that
// name, 0 if it does not, and what it includes.
func scanRuleset(name, table string) (line int, included []string) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return 0, nil
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, mostBytes))
	for n := 1; lines.Scan(); n++ {
		if match := includePattern.FindStringSubmatch(lines.Text()); match != nil {
			included = append(included, match[1])
		}
		words := strings.Fields(strings.ReplaceAll(lines.Text(), "{", " "))
		if line == 0 && len(words) >= 3 && slices.Equal(words[:3], []string{"table", "inet", table}) {
			line = n
		}
	}
	return line, included
}
