package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected texts again")

// parse reads data as the kind of file that its name says.
func parse(name string, data []byte) error {
	var err error
	if strings.HasPrefix(name, "gate") {
		_, err = ParseGate(name, data)
	} else {
		_, err = ParseHome(name, data)
	}
	return err
}

// Each file of testdata/errors has next to it what is said about it.
func TestErrorTexts(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.toml")
	if err != nil || len(files) < 15 {
		t.Fatalf("found %d files, err %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			err = parse(filepath.Base(file), data)
			if err == nil {
				t.Fatal("no error")
			}
			compareGolden(t, strings.TrimSuffix(file, ".toml")+".err", err.Error()+"\n")
		})
	}
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestErrorsUnwrap(t *testing.T) {
	err := parse("home.toml", []byte("version = 1\n\n[forward.web]\nports = [\"0\", \"ssh\"]\n"))
	list, ok := errors.AsType[Errors](err)
	if !ok || len(list) != 2 {
		t.Fatalf("got %v", err)
	}
	first, ok := errors.AsType[Error](err)
	want := Error{File: "home.toml", Line: 4, Column: 10, Message: "port 0 does not exist: ports go from 1 to 65535"}
	if !ok || first != want {
		t.Errorf("got %+v, want %+v", first, want)
	}
}

// Columns are what an editor shows: characters, not bytes.
func TestColumnsCountCharacters(t *testing.T) {
	err := parse("home.toml", []byte("version = 1\nforward.web = { to = \"é\", ports = \"ssh\" }\n"))
	list, _ := errors.AsType[Errors](err)
	if len(list) != 2 || list[1].Line != 2 || list[1].Column != 35 {
		t.Errorf("got %v", err)
	}
}

func TestTooLargeFile(t *testing.T) {
	data := []byte("version = 1\n" + strings.Repeat("# a comment\n", MaxFileSize/12))
	err := parse("home.toml", data)
	if err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("got %v", err)
	}
}

// A file that is wrong all over ends in one sentence, not in a flood.
func TestManyErrors(t *testing.T) {
	floods := map[string]string{
		"unknown keys":  "version = 1\n" + numbered(20_000, "key%d = 1\n"),
		"same key":      "version = 1\n" + strings.Repeat("same = 1\n", 50_000),
		"same table":    "version = 1\n" + strings.Repeat("[same]\n", 50_000),
		"same port":     "version = 1\n[forward.web]\nports = [" + strings.Repeat(`"1-65535",`, 1000) + "]\n",
		"many forwards": "version = 1\n" + numbered(15_000, "[forward.f%d]\nports=\"1-65535\"\n"),
		"all forwards":  "version = 1\n" + numbered(maxForwards, "[forward.f%d]\nports=\"1-65535\"\n"),
		"many ports":    "version = 1\n[forward.web]\nports = [" + numbered(50_000, `"%d",`) + "]\n",
		"nested":        "version = 1\nx = " + strings.Repeat("[", 100_000),
		"long key":      "version = 1\n[" + strings.Repeat("a.", 100_000) + "a]\n",
	}
	for name, text := range floods {
		t.Run(name, func(t *testing.T) {
			err := parse("home.toml", []byte(text))
			list, ok := errors.AsType[Errors](err)
			if !ok || len(list) > maxErrors+1 {
				t.Fatalf("%d errors", len(list))
			}
			if n := len(list.Error()); n > 20_000 {
				t.Errorf("%d characters of errors", n)
			}
		})
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"ports", "to", "source", "allow", "limit"}
	for word, want := range map[string]string{
		"prots":                     `did you mean "ports"?`,
		"port":                      `did you mean "ports"?`,
		"alow":                      `did you mean "allow"?`,
		"targetthing":               "",
		"":                          "",
		strings.Repeat("ports", 20): "",
	} {
		if got := suggest(word, known); got != want {
			t.Errorf("suggest(%q) = %q, want %q", word, got, want)
		}
	}
}
