package gatelodge_test

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`!?\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notWord = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// documents returns the texts of all documents, by their paths.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, file := range files(t, ".md") {
		texts[file] = read(t, file)
	}
	if len(texts) < 25 {
		t.Fatalf("found only %d documents", len(texts))
	}
	return texts
}

// anchors are what links into a document may name, as GitHub makes them of its
// headings.
func anchors(text string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		plain := notWord.ReplaceAllString(strings.ToLower(link.ReplaceAllString(m[1], "")), "")
		all = append(all, strings.ReplaceAll(plain, " ", "-"))
	}
	return all
}

// Every link leads to a file of the repository, and to a heading that is there.
func TestLinksLeadSomewhere(t *testing.T) {
	texts, links := documents(t), 0
	for file, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, "://") {
				continue
			}
			links++
			target := path.Join(path.Dir(file), to)
			if to == "" {
				target = file
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(texts[target]), anchor) {
				t.Errorf("%s links to %s, and %s has no such heading: %q", file, m[1], target, anchors(texts[target]))
			}
		}
	}
	if links < 100 {
		t.Errorf("found only %d links", links)
	}
}

// Nobody has to find a document by chance: README leads to each of them, by as
// many steps as it takes.
func TestEveryDocumentIsFound(t *testing.T) {
	texts := documents(t)
	found := map[string]bool{}
	var follow func(file string)
	follow = func(file string) {
		if found[file] {
			return
		}
		found[file] = true
		for _, m := range link.FindAllStringSubmatch(texts[file], -1) {
			to, _, _ := strings.Cut(m[1], "#")
			target := path.Join(path.Dir(file), to)
			follow(target)
			if target == "examples" {
				follow("examples/README.md")
			}
		}
	}
	follow("README.md")
	for file := range texts {
		if !found[file] {
			t.Errorf("nothing leads from README.md to %s", file)
		}
	}
}

// What README shows of init and expose is said by the run that docs/init.md
// has recorded, and stands where a reader sees it without scrolling.
func TestREADMEShowsARealRun(t *testing.T) {
	recorded, shown := read(t, "docs/init.md"), 0
	lines := strings.Split(read(t, "README.md"), "\n")
	for i, line := range lines[:15] {
		if !strings.HasPrefix(line, "    ") || strings.TrimSpace(line) == "…" {
			continue
		}
		shown++
		if strings.HasPrefix(line, "    home#  gatelodge init ") {
			line = strings.Replace(line, "init ", "init --yes ", 1)
		}
		if !strings.Contains(recorded, line+"\n") {
			t.Errorf("README.md:%d shows %q, which docs/init.md does not", i+1, line)
		}
	}
	if shown < 6 {
		t.Errorf("README shows only %d lines of it", shown)
	}
}

// Numbers of promises, and tests named beside them, can be looked up.
func TestPromisesThatAreNamedExist(t *testing.T) {
	promises := read(t, promisesFile)
	tests, machines := suites(t)
	number := regexp.MustCompile(`[Pp]romises? ((?:\d+(?:–\d+)?(?:, | and )?)+)`)
	named := 0
	for _, file := range []string{"docs/trust.md", "docs/faq.md"} {
		text := read(t, file)
		for _, m := range number.FindAllStringSubmatch(text, -1) {
			for _, n := range regexp.MustCompile(`\d+`).FindAllString(m[1], -1) {
				named++
				if !strings.Contains(promises, "| "+n+" |") && !strings.Contains(promises, "Promise "+n+" (") {
					t.Errorf("%s names promise %s, which is not in %s", file, n, promisesFile)
				}
			}
		}
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			named++
			if !tests[m[1]] {
				t.Errorf("%s names %s, which does not exist", file, m[1])
			}
		}
		for _, m := range scenario.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(machines, m[0]) {
				t.Errorf("%s names the scenario %s, which does not exist", file, m[0])
			}
		}
	}
	rows := regexp.MustCompile(`(?m)^    .*?  ((?:\d+, )*\d+) +(?:kernel|embedded) `).FindAllStringSubmatch(read(t, "docs/machines.md"), -1)
	for _, m := range rows {
		for n := range strings.SplitSeq(m[1], ", ") {
			if !strings.Contains(promises, "| "+n+" |") {
				t.Errorf("docs/machines.md names promise %s, which is not in %s", n, promisesFile)
			}
		}
	}
	if named < 40 || len(rows) < 30 {
		t.Errorf("only %d promises and tests are named, and %d rows of machines have promises", named, len(rows))
	}
}

// Who compares wants to know when and from what: every row of the
// comparison says it, and names something that the other does better.
func TestComparisonsSayFromWhat(t *testing.T) {
	row := regexp.MustCompile(`(?m)^\| \*\*(.+?)\*\*.*\| ([^|]+) \| ([^|]+) \|$`)
	rows := row.FindAllStringSubmatch(read(t, "docs/compare.md"), -1)
	if len(rows) < 9 {
		t.Errorf("only %d are compared", len(rows))
	}
	for _, m := range rows {
		if dated := regexp.MustCompile(`\b\d\d/20\d\d$`); !dated.MatchString(m[3]) {
			t.Errorf("%s: %q has no month", m[1], m[3])
		}
		if m[1] != "here" && len(m[2]) < 20 {
			t.Errorf("%s: what does it do better? %q", m[1], m[2])
		}
	}
}
