// Package remedy lets packets of ours through another firewall by that firewall's own
// door, and closes it again: a choice among few, never a command line.
package remedy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// Tool is the program by which another firewall's owner changes it.
type Tool string

// The tools whose doors are known.
const (
	UFW       Tool = "ufw"
	Firewalld Tool = "firewall-cmd"
	IPTables  Tool = "iptables"
	IP6Tables Tool = "ip6tables"
	NFT       Tool = "nft"

	IPTablesLegacy  Tool = "iptables" + LegacySuffix
	IP6TablesLegacy Tool = "ip6tables" + LegacySuffix
)

// LegacySuffix is at the end of the names of the old iptables.
const LegacySuffix = "-legacy"

// Remedy lets packets of ours through another firewall, with that firewall's own
// command. It is a choice among few, not a command line: a user who keeps one in a file
// cannot have anything else run by it.
type Remedy struct {
	Tool Tool `json:"tool"`
	// What ufw and firewalld let in: all that comes by Interface, or what is for
	// Port. With Leaving it is what leaves by Interface (ufw).
	Interface string `json:"interface,omitempty"`
	Leaving   bool   `json:"leaving,omitempty"`
	Port      uint16 `json:"port,omitempty"`
	Protocol  string `json:"protocol,omitempty"` // "tcp" or "udp"
	// Where iptables and nft put a rule about the mark of packets that our chains
	// have accepted; see plan.Marks.
	Family string `json:"family,omitempty"` // of nft
	Table  string `json:"table,omitempty"`  // of nft
	Chain  string `json:"chain,omitempty"`
	Mark   uint32 `json:"mark,omitempty"`
}

// comment is on rules that nft has put in for us, so that they are found again.
const comment = "gatelodge"

// String returns the remedy as a line for the owner's shell.
func (r Remedy) String() string {
	var lines []string
	for _, c := range r.commands(put) {
		lines = append(lines, strings.Join(c, " "))
	}
	return strings.Join(lines, " && ")
}

// Lasts reports whether the tool itself keeps the remedy over its restart. What
// does not last has to be put in again, by its keeper.
func (r Remedy) Lasts() bool { return r.Tool == UFW || r.Tool == Firewalld }

// action is what is done with a remedy.
type action int

const (
	put action = iota
	query
	take
)

// commands returns what carries an action out; none, where the tool has no
// command for it.
func (r Remedy) commands(a action) [][]string {
	switch r.Tool {
	case UFW:
		return r.ufw(a)
	case Firewalld:
		return r.firewalld(a)
	case IPTables, IP6Tables, IPTablesLegacy, IP6TablesLegacy:
		verb := map[action]string{put: "-I", query: "-C", take: "-D"}[a]
		return [][]string{{string(r.Tool), verb, r.Chain, "-m", "mark", "--mark", fmt.Sprintf("%#x/%#x", r.Mark, r.Mark), "-j", "ACCEPT"}}
	case NFT:
		if a == put {
			return [][]string{{"nft", "insert", "rule", r.Family, r.Table, r.Chain, "meta", "mark", "and", fmt.Sprintf("%#x", r.Mark), "==", fmt.Sprintf("%#x", r.Mark), "accept", "comment", comment}}
		}
	}
	return nil
}

// ufw deletes a rule that is not there without an error (ufw(8)).
func (r Remedy) ufw(a action) [][]string {
	if a == query {
		return nil
	}
	words := []string{"ufw"}
	if r.Leaving {
		words = append(words, "route")
	}
	if a == take {
		words = append(words, "delete")
	}
	words = append(words, "allow")
	switch {
	case r.Leaving:
		words = append(words, "out", "on", r.Interface)
	case r.Interface != "":
		words = append(words, "in", "on", r.Interface)
	default:
		words = append(words, fmt.Sprintf("%d/%s", r.Port, r.Protocol))
	}
	return [][]string{words}
}

// firewalld changes what is kept and what is in force apart: its reload would
// forget what the owner has in force only (firewall-cmd(1)).
func (r Remedy) firewalld(a action) [][]string {
	verb := map[action]string{put: "add", query: "query", take: "remove"}[a]
	words := []string{fmt.Sprintf("--%s-port=%d/%s", verb, r.Port, r.Protocol)}
	if r.Interface != "" {
		words = []string{"--zone=trusted", fmt.Sprintf("--%s-interface=%s", verb, r.Interface)}
	}
	kept, inForce := append([]string{"firewall-cmd", "--permanent"}, words...), append([]string{"firewall-cmd"}, words...)
	if a == query {
		return [][]string{kept}
	}
	return [][]string{kept, inForce}
}

// word is what names of ours and of others may look like. nft joins its
// arguments and reads them as one script: a name must not end a command.
var word = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}$`)

// Check reports what is wrong with a remedy that was read from somewhere.
func (r Remedy) Check() error {
	named := func(what, name string) error {
		if !word.MatchString(name) {
			return fmt.Errorf("%s %q is not a name that gatelodge gives to %s", what, name, r.Tool)
		}
		return nil
	}
	switch r.Tool {
	case UFW, Firewalld:
		if r.Interface != "" {
			return named("interface", r.Interface)
		}
		if r.Port == 0 || r.Protocol != "tcp" && r.Protocol != "udp" {
			return fmt.Errorf("%d/%s is not a port", r.Port, r.Protocol)
		}
		return nil
	case IPTables, IP6Tables, IPTablesLegacy, IP6TablesLegacy:
		return named("chain", r.Chain)
	case NFT:
		return errors.Join(named("family", r.Family), named("table", r.Table), named("chain", r.Chain))
	}
	return fmt.Errorf("%q is not a tool that gatelodge uses to let packets through", r.Tool)
}

// forms are what String makes of remedies.
var forms = []struct {
	pattern *regexp.Regexp
	remedy  func(parts []string) Remedy
}{
	{regexp.MustCompile(`^ufw route allow out on (\S+)$`), func(p []string) Remedy { return Remedy{Tool: UFW, Interface: p[1], Leaving: true} }},
	{regexp.MustCompile(`^ufw allow in on (\S+)$`), func(p []string) Remedy { return Remedy{Tool: UFW, Interface: p[1]} }},
	{regexp.MustCompile(`^ufw allow (\d+)/(\w+)$`), func(p []string) Remedy { return Remedy{Tool: UFW, Port: port(p[1]), Protocol: p[2]} }},
	{regexp.MustCompile(`^firewall-cmd --permanent --add-port=(\d+)/(\w+) && `), func(p []string) Remedy { return Remedy{Tool: Firewalld, Port: port(p[1]), Protocol: p[2]} }},
	{regexp.MustCompile(`^firewall-cmd --permanent --zone=trusted --add-interface=(\S+) && `), func(p []string) Remedy { return Remedy{Tool: Firewalld, Interface: p[1]} }},
	{regexp.MustCompile(`^(ip6?tables(?:-legacy)?) -I (\S+) -m mark --mark 0x([0-9a-f]+)/`), func(p []string) Remedy { return Remedy{Tool: Tool(p[1]), Chain: p[2], Mark: mark(p[3])} }},
	{regexp.MustCompile(`^nft insert rule (\S+) (\S+) (\S+) meta mark and 0x([0-9a-f]+) `), func(p []string) Remedy {
		return Remedy{Tool: NFT, Family: p[1], Table: p[2], Chain: p[3], Mark: mark(p[4])}
	}},
}

// Parse reads what String has written, and nothing else.
func Parse(text string) (Remedy, bool) {
	for _, f := range forms {
		if parts := f.pattern.FindStringSubmatch(text); parts != nil {
			r := f.remedy(parts)
			return r, r.Check() == nil && r.String() == text
		}
	}
	return Remedy{}, false
}

// port and mark read numbers; one that is too large becomes another, and the
// remedy no longer reads as it was written.
func port(text string) uint16 {
	n, _ := strconv.ParseUint(text, 10, 16)
	return uint16(n)
}

func mark(text string) uint32 {
	n, _ := strconv.ParseUint(text, 16, 32)
	return uint32(n)
}

// commandTime bounds one command of another firewall. Those written in Python
// take seconds on a small machine.
const commandTime = 60 * time.Second

// Put carries the remedy out. Where a part of it fails, the parts before are
// undone.
func (r Remedy) Put(ctx context.Context) error {
	if err := r.Check(); err != nil {
		return err
	}
	for _, c := range r.commands(put) {
		if err := run(ctx, c); err != nil {
			return errors.Join(err, r.TakeBack(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

// TakeBack undoes Put. It is no error if there is nothing to undo: its
// owner, or the tool's removal, may have done that.
func (r Remedy) TakeBack(ctx context.Context) error {
	if err := r.Check(); err != nil {
		return err
	}
	if _, ok := netfilter.Find(string(r.Tool)); !ok {
		return nil
	}
	if r.Tool == NFT {
		return r.deleteRules(ctx)
	}
	for _, q := range r.commands(query) {
		if code, failed := netfilter.ExitCode(run(ctx, q)); failed && code == 1 {
			return nil
		}
	}
	var errs []error
	for _, c := range r.commands(take) {
		errs = append(errs, run(ctx, c))
	}
	return errors.Join(errs...)
}

// ourHandle is how nft(8) shows where a rule is, and our comment before it.
var ourHandle = regexp.MustCompile(`comment "` + comment + `" # handle ([0-9]+)$`)

// deleteRules deletes the rules of the chain that bear our comment.
func (r Remedy) deleteRules(ctx context.Context) error {
	out, err := output(ctx, []string{"nft", "--handle", "list", "chain", r.Family, r.Table, r.Chain})
	if code, failed := netfilter.ExitCode(err); failed && code == 1 {
		return nil // that chain is gone
	}
	if err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(out) {
		if found := ourHandle.FindStringSubmatch(strings.TrimSpace(line)); found != nil {
			errs = append(errs, run(ctx, []string{"nft", "delete", "rule", r.Family, r.Table, r.Chain, "handle", found[1]}))
		}
	}
	return errors.Join(errs...)
}

func run(ctx context.Context, command []string) error {
	_, err := output(ctx, command)
	return err
}

// output runs a command and returns what it prints. What it says when it fails
// is in the error.
func output(ctx context.Context, command []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	return netfilter.Output(ctx, command[0], command[1:]...)
}
