package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// NewForward is a forward as it is to be written into home.toml: texts in the
// forms of the file, of which the empty ones are left out.
type NewForward struct {
	Name           string
	Ports          []string // such as "443" or "2222:22/tcp"
	To             string
	Source         string
	Allow          []string
	NewConnections string // such as "20/second"
	Connections    uint32
}

// lines returns the forward's table.
func (f NewForward) lines() []string {
	lines := []string{
		"[forward." + f.Name + "]",
		"ports = " + quoteList(f.Ports),
	}
	if f.To != "" {
		lines = append(lines, "to = "+quote(f.To))
	}
	if f.Source != "" {
		lines = append(lines, "source = "+quote(f.Source))
	}
	if len(f.Allow) > 0 {
		lines = append(lines, "allow = "+quoteList(f.Allow))
	}
	var limit []string
	if f.NewConnections != "" {
		limit = append(limit, "new_connections = "+quote(f.NewConnections))
	}
	if f.Connections > 0 {
		limit = append(limit, "connections = "+strconv.FormatUint(uint64(f.Connections), 10))
	}
	if len(limit) > 0 {
		lines = append(lines, "limit = { "+strings.Join(limit, ", ")+" }")
	}
	return lines
}

// HomeText is home.toml with what it says, so that it is read once.
type HomeText struct {
	Data []byte
	Home Home
}

// ReadHome reads home.toml to change it. The error is that of ParseHome.
func ReadHome(name string, data []byte) (HomeText, error) {
	home, err := ParseHome(name, data)
	return HomeText{data, home}, err
}

// editedHome reads a home.toml that was edited.
func editedHome(data []byte) (HomeText, error) {
	home, err := ParseHome(HomeFile, data)
	return HomeText{data, home}, placeless(err)
}

// AddForward appends a table to home.toml and leaves every other byte as it
// was. It refuses a name that is in use, and whatever would not be valid; these
// errors have no place.
func (t HomeText) AddForward(f NewForward) (HomeText, error) {
	if err := checkName(f.Name); err != nil {
		return HomeText{}, err
	}
	for _, have := range t.Home.Forwards {
		if have.Name == f.Name {
			return HomeText{}, problem{fmt.Sprintf("there is a forward %q already", f.Name), "choose another name, or remove that one first"}
		}
	}
	if err := readLayout(t.Data).checkAppendable(HomeFile, "forward", f.Name); err != nil {
		return HomeText{}, err
	}
	return editedHome(appendTable(t.Data, f.lines()))
}

// RemoveForward cuts a forward's table out of home.toml, with the comments
// right above it, and leaves every other byte as it was.
func (t HomeText) RemoveForward(name string) (HomeText, error) {
	if !slices.ContainsFunc(t.Home.Forwards, func(f forward.Forward) bool { return f.Name == name }) {
		return HomeText{}, noForward(name, t.Home.Forwards)
	}
	l := readLayout(t.Data)
	if a, ok := l.elsewhere("forward", name); ok {
		return HomeText{}, problem{
			fmt.Sprintf("forward %q is not a table [forward.%s] of its own (see %s)", name, name, source{HomeFile, t.Data}.place(l.lines[a.line].start)),
			"remove it by hand",
		}
	}
	return editedHome(l.remove(func(s section) bool { return within(s.keys, "forward", name) }))
}

// noForward says which forward was likely meant: people also name one by its port.
func noForward(name string, forwards []forward.Forward) error {
	var names []string
	for _, f := range forwards {
		names = append(names, f.Name)
	}
	hint := suggest(name, names)
	published := publishing(name, forwards)
	switch {
	case published != "":
		hint = fmt.Sprintf("did you mean %q, which publishes that port?", published)
	case hint != "":
	case len(names) == 0:
		hint = "there is none at all"
	default:
		hint = "there are " + bounded(strings.Join(names, ", "))
	}
	return problem{fmt.Sprintf("there is no forward %q", bounded(name)), hint}
}

// publishing returns the name of the forward that publishes a port, "" for none.
func publishing(port string, forwards []forward.Forward) string {
	wanted, err := forward.ParsePorts(port)
	if err != nil {
		return ""
	}
	for _, f := range forwards {
		for _, m := range f.Mappings {
			if slices.ContainsFunc(wanted, m.Public.Overlaps) {
				return f.Name
			}
		}
	}
	return ""
}

// GateText is gate.toml with what it says, so that it is read once.
type GateText struct {
	Data []byte
	Gate Gate
}

// ReadGate reads gate.toml to change it. The error is that of ParseGate.
func ReadGate(name string, data []byte) (GateText, error) {
	gate, err := ParseGate(name, data)
	return GateText{data, gate}, err
}

// SetHomePolicy sets the ports that one home may publish in gate.toml: it
// replaces the ports of [home.NAME], or adds them, or adds the table. Every
// other byte stays as it was. Errors of what would not be valid have no place.
func (t GateText) SetHomePolicy(home string, ports []string) (GateText, error) {
	if err := checkName(home); err != nil {
		return GateText{}, err
	}
	after, err := setPorts(t.Data, home, "ports = "+quoteList(ports))
	if err != nil {
		return GateText{}, err
	}
	gate, err := ParseGate(GateFile, after)
	return GateText{after, gate}, placeless(err)
}

func setPorts(gate []byte, home, assign string) ([]byte, error) {
	l := readLayout(gate)
	i := slices.IndexFunc(l.sections, func(s section) bool { return slices.Equal(s.keys, []string{"home", home}) })
	if i < 0 {
		if err := l.checkAppendable(GateFile, "home", home); err != nil {
			return nil, err
		}
		return appendTable(gate, []string{"[home." + home + "]", assign}), nil
	}
	for _, a := range l.sections[i].assignment {
		if slices.Equal(a.keys, []string{"ports"}) {
			_, list, _ := strings.Cut(assign, "= ")
			return slices.Concat(gate[:a.start], []byte(list), gate[a.end:]), nil
		}
	}
	at := l.lines[l.sections[i].header]
	newline := ending(gate[:at.end])
	if newline == nil { // the header ends the file
		return slices.Concat(gate, newlineOf(gate), []byte(assign)), nil
	}
	return slices.Concat(gate[:at.end], []byte(assign), newline, gate[at.end:]), nil
}

// checkAppendable reports whether a table [kind.name] can follow the file.
// TOML forbids it where the tables of the kind are in braces, and where the
// name is there in another form.
func (l *layout) checkAppendable(file, kind, name string) error {
	a, ok := l.elsewhere(kind, name)
	if !ok {
		return nil
	}
	return problem{
		fmt.Sprintf("a table [%s.%s] cannot be added: the file has %s in another form (see %s)", kind, name, kind, source{file, l.data}.place(l.lines[a.line].start)),
		fmt.Sprintf("write each as a table [%s.NAME] of its own", kind),
	}
}

// elsewhere finds an assignment from outside [kind.name] that reaches into
// it: kind.name.key = …, kind = {…}, or name.key = … below [kind].
func (l *layout) elsewhere(kind, name string) (assignment, bool) {
	for _, s := range l.sections {
		if within(s.keys, kind, name) {
			continue
		}
		for _, a := range s.assignment {
			keys := slices.Concat(s.keys, a.keys)
			if len(keys) == 1 && keys[0] == kind || within(keys, kind, name) {
				return a, true
			}
		}
	}
	return assignment{}, false
}

// within reports whether keys lead to [kind.name] or into it.
func within(keys []string, kind, name string) bool {
	return len(keys) >= 2 && keys[0] == kind && keys[1] == name
}

// placeless takes the places out of the errors of an edited file: they are those
// of a text that nobody has seen.
func placeless(err error) error {
	list, ok := errors.AsType[Errors](err)
	if !ok {
		return err
	}
	var all []error
	for _, e := range list {
		all = append(all, problem{e.Message, e.Hint})
	}
	return errors.Join(all...)
}

func quoteList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// quote writes a text as a basic string of TOML.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
