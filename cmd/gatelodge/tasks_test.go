package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// The task pages are carried out in the lab as they are written: what stands
// in their blocks of code is run on its host, and what visitors are said to get
// is what they get.
//
//	```console      after a prompt with its host; lines without one are what it prints
//	```toml HOST    is appended to the file of that host
//
// Blocks of other kinds are only read.
const taskPages = "../../docs/tasks/*.md"

// readersServices are the services that a page's reader has, beside those of the lab.
var readersServices = map[string]func(l *lab.Lab) []error{
	"games.md": func(l *lab.Lab) []error { return []error{l.Host("device").Echo(25565)} },
	"mail.md": func(l *lab.Lab) []error {
		return []error{l.Home().Echo(25), l.Home().Echo(465), l.Home().Echo(587), l.Home().Echo(993)}
	},
}

func TestTaskPagesWorkAsWritten(t *testing.T) {
	pages, err := filepath.Glob(taskPages)
	must(t, err)
	var commands, visits int
	for _, page := range pages {
		blocks := taskBlocks(readFile(t, page))
		for _, b := range blocks {
			commands += len(b.lines)
			visits += strings.Count(strings.Join(b.lines, "\n"), "$ ")
		}
		if len(blocks) == 0 {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			r := newReader(t, filepath.Base(page))
			for _, b := range blocks {
				r.follow(b)
			}
		})
	}
	if len(pages) < 8 || commands < 40 || visits < 12 {
		t.Errorf("found only %d pages, %d lines and %d visits", len(pages), commands, visits)
	}
}

// closesAPort puts a change on trial: a port of the gate's own that was open.
const closesAPort = `sed -i 's,^# accept = .*,accept = ["8080/tcp"],' /etc/gatelodge/gate.toml; gatelodge apply
sed -i '/^accept = /d' /etc/gatelodge/gate.toml; gatelodge apply`

var listed = regexp.MustCompile(`(?m)^    (home#|vps#) +(gatelodge [^#]*[^# ]) +#`)

// README's list of what to do is run in the lab, line by line; of set-up, which
// stands above it, that is done on virtual machines and by the tests of init.
func TestREADMEsCommandsRun(t *testing.T) {
	_, list, _ := strings.Cut(readFile(t, "../../README.md"), "\n## What to do with it\n")
	list, _, _ = strings.Cut(list, "\n## ")
	commands := listed.FindAllStringSubmatch(list, -1)
	if len(commands) < 12 {
		t.Fatalf("README lists only %d commands", len(commands))
	}
	l := newLab(t)
	must(t, l.InitGate(t.Context()))
	r := &taskReader{t: t, lab: l, copied: t.TempDir(), hosts: map[string]*lab.Host{"vps": l.Gate(), "home": l.Home()}}
	t.Cleanup(func() { downIfUp(t, l.Home()) })
	r.run("vps", "gatelodge gate invite attic")
	r.run("home", "gatelodge join -")
	must(t, l.Host("device").Echo(8123))
	must(t, l.Home().Echo(5432))
	for _, m := range commands {
		if m[2] == "gatelodge confirm" {
			r.run("vps", closesAPort)
		}
		text := m[2]
		if strings.Contains(text, "revoke") {
			text += " --yes" // where nobody can be asked
		}
		said := r.run(strings.TrimSuffix(m[1], "#"), text)
		t.Logf("%s %s\n%s", m[1], m[2], said)
		switch m[2] {
		case "gatelodge expose 8022:22/tcp --name shell":
			r.visit("visitor", "nc 198.51.100.1 8022   # home sees 203.0.113.10")
		case "gatelodge expose 8123/tcp --to 192.168.1.20":
			r.visit("visitor", "nc 198.51.100.1 8123   # device sees 192.168.1.10")
		case "gatelodge expose 5432/tcp --allow 203.0.113.0/24":
			r.visit("visitor", "nc 198.51.100.1 5432   # home sees 203.0.113.10")
		case "gatelodge gate revoke attic":
			r.visit("visitor", "nc 198.51.100.1 5432   # no answer")
		}
	}
}

// taskBlock is a block of code that a reader carries out.
type taskBlock struct {
	file  string // the host whose file it belongs to; none: a terminal
	lines []string
}

var blockStart = regexp.MustCompile("^```(console|toml) ?([a-z-]*)$")

// taskBlocks returns the blocks of a page that are carried out.
func taskBlocks(text string) []taskBlock {
	var all []taskBlock
	var b *taskBlock
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch start := blockStart.FindStringSubmatch(line); {
		case b == nil && start != nil && (start[1] == "console" || start[2] != ""):
			b = &taskBlock{file: start[2]}
		case b != nil && line == "```":
			all, b = append(all, *b), nil
		case b != nil:
			b.lines = append(b.lines, line)
		}
	}
	return all
}

// taskReader does what a page says.
type taskReader struct {
	t      *testing.T
	lab    *lab.Lab
	hosts  map[string]*lab.Host
	copied string // the folder in which people copy files from host to host
	invite string // the last one shown
	moved  bool   // the machine called new is another one than old
}

// newReader has what every page begins with: a gate and a home that has joined.
func newReader(t *testing.T, page string) *taskReader {
	l := newLab(t)
	must(t, l.InitGate(t.Context()))
	must(t, l.Join(t.Context(), l.Home()))
	eventually(t, "the home is heard", func(ctx context.Context) error {
		_, err := l.Gate().Gatelodge(ctx, "status")
		return err
	})
	if start := readersServices[page]; start != nil {
		for _, err := range start(l) {
			must(t, err)
		}
	}
	for _, h := range []*lab.Host{l.Gate(), l.Home(), l.Home2()} {
		t.Cleanup(func() { downIfUp(t, h) })
	}
	return &taskReader{t: t, lab: l, copied: t.TempDir(), hosts: map[string]*lab.Host{
		"vps": l.Gate(), "old": l.Gate(), "new": l.Gate(), "home": l.Home(), "attic": l.Home(), "cabin": l.Home2(),
	}}
}

var prompt = regexp.MustCompile(`^([a-z0-9]+)([#$]) (.*)$`)

func (r *taskReader) follow(b taskBlock) {
	if b.file != "" {
		h := r.hosts[b.file]
		appendTo(r.t, filepath.Join(h.Root(), "etc/gatelodge", map[bool]string{true: "gate.toml", false: "home.toml"}[h == r.lab.Gate()]), "\n"+strings.Join(b.lines, "\n")+"\n")
		return
	}
	var printed []string
	for _, line := range b.lines {
		said := prompt.FindStringSubmatch(line)
		if said == nil {
			r.expect(printed, line)
			continue
		}
		host, text := said[1], strings.TrimSpace(strings.Split(said[3], "   #")[0])
		if said[2] == "$" {
			r.visit(host, said[3])
			continue
		}
		start := time.Now()
		printed = strings.Split(r.run(host, text), "\n")
		r.t.Logf("%.1f s: %s# %s", time.Since(start).Seconds(), host, text)
	}
}

// expect finds a line of a page in what was printed; dots stand for what differs.
func (r *taskReader) expect(printed []string, line string) {
	r.t.Helper()
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(line, " ")), "…", ".*") + "$"
	if strings.TrimSpace(line) == "…" || slices.ContainsFunc(printed, regexp.MustCompile(pattern).MatchString) {
		return
	}
	r.t.Errorf("the page says %q, and this is printed:\n%s", line, strings.Join(printed, "\n"))
}

// run carries a command out on its host; folders of the system are those of
// the host's own root.
func (r *taskReader) run(host, text string) string {
	r.t.Helper()
	h := r.hosts[host]
	if h == nil {
		r.t.Fatalf("nobody is called %q, who runs %s", host, text)
	}
	if host == "new" && !r.moved {
		r.moved = true
		r.fresh(h)
	}
	script := strings.NewReplacer("-C /", "-C "+h.Root(), "/etc/gatelodge", h.Root()+"/etc/gatelodge", "/var/lib/gatelodge", h.Root()+"/var/lib/gatelodge").Replace(text)
	cmd := exec.CommandContext(r.t.Context(), "sh", "-c", "exec 2>&1; "+script)
	cmd.Dir = r.copied
	cmd.Env = append(os.Environ(), "PATH="+h.Bin()+":"+os.Getenv("PATH"), envProgram+"=1", "SSH_CONNECTION=")
	cmd.Stdin = strings.NewReader(r.invite + "\n")
	out, err := r.output(h, cmd)
	if err != nil {
		r.t.Fatalf("%s: %s: %v:\n%s", host, text, err, out)
	}
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "GL1-") {
			r.invite = line
		}
	}
	return out
}

// output runs a program on a host, into a file: a daemon that it starts keeps it open.
func (r *taskReader) output(h *lab.Host, cmd *exec.Cmd) (string, error) {
	file, err := os.CreateTemp(r.t.TempDir(), "output")
	must(r.t, err)
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	must(r.t, h.Launch(cmd))
	err = cmd.Wait()
	return readFile(r.t, file.Name()), err
}

// fresh makes another machine of a host: without anything of Gatelodge's, and
// with another address if it is the gate.
func (r *taskReader) fresh(h *lab.Host) {
	for _, folder := range []string{"etc", "var", "run"} {
		must(r.t, os.RemoveAll(filepath.Join(h.Root(), folder)))
	}
	must(r.t, r.lab.ChangeAddress(r.t.Context(), h.Name, netip.MustParseAddr("198.51.100.2")))
}

// visits are the ways in which a page has visitors try a service: a browser's,
// and for ports of all kinds.
var visits = regexp.MustCompile(`^(curl (?:-k )?https?://|nc (-u )?)(\[[0-9a-f:]+\]|[0-9.]+)(?:[ :](\d+))?/? +# (.+)$`)

// visit has somebody do what a page says, and compares what they get: who
// answers, and whom that one sees.
func (r *taskReader) visit(from, text string) {
	r.t.Helper()
	m := visits.FindStringSubmatch(text)
	if m == nil {
		r.t.Fatalf("%s cannot do this: %s", from, text)
	}
	at := netip.MustParseAddr(strings.Trim(m[3], "[]"))
	probe, port := lab.ProbeTCP, m[4]
	switch {
	case strings.HasPrefix(m[1], "curl") && strings.Contains(m[1], "https"):
		probe, port = r.lab.ProbeHTTPS, orPort(port, "443")
	case strings.HasPrefix(m[1], "curl"):
		probe, port = lab.ProbeHTTP, orPort(port, "80")
	case m[2] != "":
		probe = lab.ProbeUDP
	}
	number, err := strconv.ParseUint(port, 10, 16)
	must(r.t, err)
	to := netip.AddrPortFrom(at, uint16(number))
	start := time.Now()
	defer func() { r.t.Logf("%.1f s: %s$ %s", time.Since(start).Seconds(), from, text) }()
	eventually(r.t, text, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		a, err := probe(ctx, r.lab.Host(from), to)
		got := fmt.Sprintf("%s sees %s", a.Host, a.Saw.Addr())
		if err != nil {
			got = "no answer"
		}
		if got != r.called(m[5]) {
			return fmt.Errorf("got %q (%v)", got, err)
		}
		return nil
	})
}

func orPort(port, usual string) string {
	if port == "" {
		return usual
	}
	return port
}

// called says it in the names of the lab's hosts.
func (r *taskReader) called(text string) string {
	who, rest, _ := strings.Cut(text, " ")
	if h := r.hosts[who]; h != nil {
		who = h.Name
	}
	return strings.TrimSpace(who + " " + rest)
}
