// Package gatelodge_test holds the house together: it fails when a package
// imports one that it must not know.
package gatelodge_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gatelodge/gatelodge/"

// rooms says which packages of this module each package may import, as drawn
// in ARCHITECTURE.md. Tests are free to import more.
var rooms = map[string][]string{
	// The pure rooms, and the nouns.
	"internal/forward":   {},
	"internal/key":       {},
	"internal/printable": {},
	"internal/event":     {"internal/key"},
	"internal/words":     {"internal/forward"},
	"internal/config":    {"internal/forward", "internal/key", "internal/words"},
	"internal/plan":      {"internal/config", "internal/forward", "internal/key"},
	"internal/registry":  {"internal/forward", "internal/key"},
	"internal/status":    {"internal/key"},
	"internal/survey":    {"internal/printable"},
	"internal/doctor":    {},
	"internal/problem":   {},
	"internal/view":      {"internal/doctor", "internal/plan", "internal/printable", "internal/status"},
	// The machine.
	"internal/step":                {},
	"internal/layout":              {"internal/forward"},
	"internal/systemd":             {},
	"internal/sibling":             {},
	"internal/store":               {"internal/forward", "internal/key", "internal/step"},
	"internal/host":                {"internal/forward", "internal/host/firewall", "internal/host/foreign", "internal/host/netfilter", "internal/host/remedy", "internal/host/routing", "internal/host/sockets", "internal/host/wireguard", "internal/key", "internal/plan", "internal/step", "internal/store", "internal/survey"},
	"internal/host/hosttest":       {"internal/forward", "internal/host", "internal/key", "internal/plan"},
	"internal/host/firewall":       {"internal/forward", "internal/host/netfilter", "internal/plan", "internal/step"},
	"internal/host/foreign":        {"internal/host/netfilter", "internal/host/remedy"},
	"internal/host/netfilter":      {"internal/forward"},
	"internal/host/routing":        {"internal/forward", "internal/host/netfilter", "internal/plan", "internal/step"},
	"internal/host/sockets":        {"internal/forward", "internal/printable"},
	"internal/host/wireguard":      {"internal/host/wireguard/bind", "internal/key", "internal/plan", "internal/step"},
	"internal/host/wireguard/bind": {},
	// What lives long.
	"internal/control":   {"internal/control/ping", "internal/control/sources", "internal/forward", "internal/key", "internal/printable"},
	"internal/local":     {"internal/doctor", "internal/plan", "internal/status"},
	"internal/supervise": {"internal/event", "internal/systemd"},
	"internal/consent":   {"internal/doctor", "internal/event", "internal/forward", "internal/host", "internal/layout", "internal/plan", "internal/step", "internal/store"},
	"internal/examine":   {"internal/config", "internal/consent", "internal/control", "internal/doctor", "internal/forward", "internal/host", "internal/plan", "internal/registry"},
	"internal/reconcile": {"internal/consent", "internal/event", "internal/examine", "internal/forward", "internal/host", "internal/key", "internal/plan", "internal/status", "internal/step", "internal/supervise"},
	"internal/gate":      {"internal/config", "internal/consent", "internal/control", "internal/control/ping", "internal/counted", "internal/doctor", "internal/event", "internal/examine", "internal/fair", "internal/forward", "internal/gate/state", "internal/heard", "internal/host", "internal/key", "internal/layout", "internal/local", "internal/plan", "internal/reconcile", "internal/registry", "internal/status", "internal/step", "internal/store", "internal/supervise", "internal/systemd"},
	"internal/home":      {"internal/config", "internal/consent", "internal/control", "internal/control/ping", "internal/counted", "internal/doctor", "internal/event", "internal/examine", "internal/forward", "internal/host", "internal/key", "internal/layout", "internal/local", "internal/membership", "internal/plan", "internal/reach", "internal/reconcile", "internal/status", "internal/store", "internal/supervise", "internal/systemd"},
	"internal/daemon":    {"internal/config", "internal/consent", "internal/doctor", "internal/event", "internal/examine", "internal/forward", "internal/gate", "internal/home", "internal/host", "internal/layout", "internal/local", "internal/step", "internal/store", "internal/supervise", "internal/systemd"},
	// The commands.
	"internal/install":                 {"internal/systemd", "packaging"},
	"internal/remote":                  {"internal/printable", "internal/survey"},
	"internal/edit":                    {"internal/config", "internal/forward", "internal/layout", "internal/local", "internal/problem", "internal/status", "internal/step", "internal/store"},
	"internal/instance":                {"internal/layout", "internal/local", "internal/problem", "internal/status", "internal/store", "internal/supervise", "internal/systemd", "packaging"},
	"internal/served":                  {"internal/forward", "internal/host", "internal/status"},
	"internal/terminal":                {"internal/printable", "internal/view"},
	"internal/onboard":                 {"internal/config", "internal/edit", "internal/forward", "internal/host", "internal/install", "internal/instance", "internal/key", "internal/layout", "internal/plan", "internal/problem", "internal/remote", "internal/status", "internal/survey", "internal/systemd", "packaging"},
	"internal/cli":                     {"internal/cli/command", "internal/cli/gateside", "internal/cli/homeside", "internal/config", "internal/consent", "internal/daemon", "internal/doctor", "internal/forward", "internal/host", "internal/install", "internal/local", "internal/plan", "internal/sibling", "internal/status", "internal/systemd", "internal/terminal", "internal/view"},
	"internal/cli/command":             {"internal/config", "internal/daemon", "internal/edit", "internal/forward", "internal/instance", "internal/layout", "internal/local", "internal/problem", "internal/status", "internal/terminal", "internal/view", "internal/words"},
	"internal/cli/command/commandtest": {},
	"internal/cli/gateside":            {"internal/cli/command", "internal/config", "internal/forward", "internal/host", "internal/layout", "internal/local", "internal/onboard", "internal/status", "internal/survey", "internal/terminal", "internal/view", "internal/words"},
	"internal/cli/homeside":            {"internal/cli/command", "internal/config", "internal/edit", "internal/forward", "internal/host", "internal/key", "internal/layout", "internal/local", "internal/membership", "internal/onboard", "internal/plan", "internal/remote", "internal/served", "internal/status", "internal/systemd", "internal/terminal", "internal/words"},
	"cmd/gatelodge":                    {"internal/cli"},
	// What is shipped around the binary, and the programs that make it.
	"packaging":         {},
	"packaging/cast":    {"internal/lab"},
	"packaging/manual":  {"internal/cli", "internal/lab/command"},
	"packaging/release": {},
	// The lab, the benchmarks, and what is for tests only.
	"internal/lab":                 {"internal/forward", "internal/lab/netns"},
	"internal/lab/command":         {"internal/lab", "internal/lab/demo", "internal/lab/standing", "internal/printable", "internal/sibling"},
	"internal/lab/demo":            {"internal/forward", "internal/lab"},
	"internal/lab/standing":        {"internal/lab", "internal/lab/demo", "internal/lab/netns"},
	"internal/lab/netns":           {},
	"cmd/gatelodge-lab":            {"internal/lab", "internal/lab/command"},
	"bench":                        {"internal/lab", "internal/lab/netns"},
	"internal/lab/netns/netnstest": {"internal/lab/netns"},
	"internal/lab/machine":         {},
	"internal/membership":          {"internal/control", "internal/host", "internal/key", "internal/layout", "internal/local", "internal/plan", "internal/reach", "internal/step", "internal/store"},
	"internal/reach":               {},
	"internal/counted":             {"internal/control", "internal/status"},
	"internal/fair":                {"internal/control"},
	"internal/heard":               {"internal/control/ping", "internal/doctor", "internal/event", "internal/fair", "internal/key", "internal/plan", "internal/registry"},
	"internal/gate/state":          {"internal/config", "internal/control", "internal/forward", "internal/key", "internal/local", "internal/plan", "internal/registry"},
	"internal/host/remedy":         {"internal/host/netfilter"},
	"internal/control/ping":        {},
	"internal/control/sources":     {"internal/control/ping"},
}

// runners are the packages that may start programs.
var runners = []string{"bench", "internal/cli", "internal/cli/homeside", "internal/host", "internal/host/netfilter", "internal/host/wireguard", "internal/install", "internal/instance", "internal/lab", "internal/lab/command", "internal/lab/machine", "internal/lab/netns", "internal/lab/standing", "internal/remote", "internal/sibling", "internal/systemd", "packaging/cast", "packaging/release"}

// pure are the packages that touch neither files, nor the network, nor time.
var pure = []string{"internal/gate/state", "internal/event", "internal/plan", "internal/config", "internal/forward", "internal/key", "internal/printable", "internal/status", "internal/registry", "internal/doctor", "internal/problem", "internal/survey", "internal/words", "internal/view"}

func TestRoomsImportOnlyWhatTheyMayKnow(t *testing.T) {
	found := imports(t)
	for room, list := range found {
		allowed, known := rooms[room]
		if !known {
			t.Errorf("package %s is not in the table: decide where it belongs", room)
			continue
		}
		for _, i := range list {
			if own, ok := strings.CutPrefix(i, module); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s must not import %s", room, own)
			}
		}
	}
	for room, allowed := range rooms {
		list, there := found[room]
		if !there {
			t.Errorf("the table names %s, which does not exist", room)
		}
		for _, own := range allowed {
			if there && !slices.Contains(list, module+own) {
				t.Errorf("%s may import %s, and does not: take the permission away", room, own)
			}
		}
	}
}

func TestOnlySomeRoomsRunPrograms(t *testing.T) {
	for room, list := range imports(t) {
		if slices.Contains(list, "os/exec") && !slices.Contains(runners, room) {
			t.Errorf("%s must not run programs", room)
		}
	}
}

func TestPureRoomsDoNoIO(t *testing.T) {
	for room, list := range imports(t) {
		for _, i := range []string{"os", "net", "net/http", "syscall", "golang.org/x/sys/unix"} {
			if slices.Contains(pure, room) && slices.Contains(list, i) {
				t.Errorf("%s must not import %s", room, i)
			}
		}
	}
}

// imports returns what each package of the module imports outside its tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		room := path.Dir(filepath.ToSlash(file))
		for _, i := range parsed.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			found[room] = append(found[room], name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < len(rooms) {
		t.Fatalf("found only %d packages", len(found))
	}
	return found
}
