package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatelodge/gatelodge/internal/cli/command"
)

var update = flag.Bool("update", false, "write the answers to wrong command lines again")

// foreign is how libraries speak: none of it reaches a person.
var foreign = regexp.MustCompile(`strconv\.|ParseUint|ParseInt|time: (missing|unknown|invalid)|invalid argument|unknown (command|flag|shorthand)|accepts? \d|requires at least|arg\(s\)|flag needs an argument|no such file or directory|Did you mean this|if any flags in the group|invalid syntax|bad flag`)

// instances are machines of each role, without a daemon, where command lines are tried.
func instances(t *testing.T) map[string]string {
	t.Helper()
	places := map[string]string{"nowhere": t.TempDir(), "home": t.TempDir(), "gate": t.TempDir()}
	for name, text := range map[string]string{
		"home": "version = 1\n\n[forward.web]\nports = [\"80/tcp\", \"443\"]\n\n[forward.game]\nports = [\"25565-25570/udp\"]\n",
		"gate": "version = 1\n\n[tunnel]\nprefix4 = \"10.99.0.0/24\"\n\n[public]\nendpoints = [\"198.51.100.1\"]\n",
	} {
		folder := filepath.Join(places[name], "etc/gatelodge")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name+".toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return places
}

// tried carries a command line out and returns all that it says, and its exit code.
func tried(t *testing.T, root string, args []string) (said string, code int) {
	t.Helper()
	var out bytes.Buffer
	code = Run(t.Context(), append([]string{"--root", root}, args...), strings.NewReader(""), &out, &out)
	return strings.ReplaceAll(out.String(), root, "ROOT"), code
}

// Wrong command lines, and what is said to each. The file has them as
//
//	home$ gatelodge expose 443:
//	…what is said
//	[2]
//
// A line of a word in quotes has spaces in it.
func TestWrongCommandLines(t *testing.T) {
	const file = "testdata/wrong.txt"
	places := instances(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var now bytes.Buffer
	count := 0
	for line := range strings.Lines(string(text)) {
		place, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "$ gatelodge")
		if !ok || places[place] == "" {
			continue
		}
		count++
		said, code := tried(t, places[place], splitLine(rest))
		fmt.Fprintf(&now, "%s$ gatelodge%s\n%s[%d]\n", place, rest, said, code)
		if code == command.ExitOK {
			t.Errorf("%s$ gatelodge%s: is not wrong", place, rest)
		}
		if found := foreign.FindString(said); found != "" {
			t.Errorf("%s$ gatelodge%s: says %q, in the words of a library: %s", place, rest, found, said)
		}
	}
	if *update {
		if err := os.WriteFile(file, now.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if count < 200 || now.String() != string(text) {
		t.Errorf("%d command lines; what they say has changed (go test ./internal/cli -run WrongCommandLines -update):\n%s", count, difference(string(text), now.String()))
	}
}

// splitLine splits words as a shell would, of which it knows double quotes only.
func splitLine(line string) []string {
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// difference returns the first lines that differ.
func difference(was, is string) string {
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n- %s\n+ %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines and %d lines", len(a), len(b))
}

// Whatever is wrong about any flag of any command, the answer is in our words, with the
// exit code of a wrong command line.
func TestNoFlagAnswersInForeignWords(t *testing.T) {
	places := instances(t)
	count := 0
	walk(tree(&command.App{}), func(c *cobra.Command) {
		if c.DisableFlagParsing || strings.HasPrefix(c.CommandPath(), "gatelodge completion") {
			return
		}
		at := strings.Fields(c.CommandPath())[1:]
		wrong := [][]string{{"--no-such-flag"}, {"-Z"}, {"---"}, {"--=x"}}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" || f.Name == "version" {
				return
			}
			if f.NoOptDefVal != "" { // a switch
				wrong = append(wrong, []string{"--" + f.Name + "=maybe"})
				return
			}
			wrong = append(wrong, []string{"--" + f.Name, ""}, []string{"--" + f.Name})
			switch f.Value.Type() {
			case "port", "number", "time":
				wrong = append(wrong, []string{"--" + f.Name, "-1"}, []string{"--" + f.Name, "x"}, []string{"--" + f.Name, "99999999999999999999"})
			}
		})
		for _, flags := range wrong {
			count++
			said, code := tried(t, places["nowhere"], append(at, flags...))
			if code != command.ExitUsage || foreign.MatchString(said) || !strings.Contains(said, "gatelodge: error: ") {
				t.Errorf("gatelodge %s %q: exit code %d, %s", strings.Join(at, " "), flags, code, said)
			}
		}
	})
	if count < 100 {
		t.Errorf("only %d command lines", count)
	}
}

func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		walk(sub, visit)
	}
}
