// Manual writes what a package ships beside the program and what is derived
// from the program and its documents: manual pages and shell completions.
//
//	go run ./packaging/manual -out DIR
//
// It writes DIR/man1, DIR/man5, DIR/bash, DIR/zsh and DIR/fish.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli"
	"github.com/gatelodge/gatelodge/internal/lab/command"
)

func main() {
	out := flag.String("out", "", "folder to write to")
	docs := flag.String("docs", "docs", "folder with commands.md and configuration.md")
	version := flag.String("version", "dev", "version at the foot of the pages")
	date := flag.String("date", "", "date at the foot of the pages, YYYY-MM-DD")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := write(*out, *docs, stamp{date: *date, version: *version}); err != nil {
		fmt.Fprintln(os.Stderr, "manual: error:", err)
		os.Exit(1)
	}
}

// programs are the commands of gatelodge and of gatelodge-lab.
func programs() []*cobra.Command { return []*cobra.Command{cli.Command(), command.Tree()} }

// write makes all files below out.
func write(out, docs string, s stamp) error {
	pages, err := manual(docs, s)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	for _, root := range programs() {
		completions, err := completions(root)
		if err != nil {
			return err
		}
		maps.Copy(files, completions)
	}
	for _, p := range pages {
		files[p.file()] = []byte(p.text.String())
	}
	for name, content := range files {
		if err := writeFile(filepath.Join(out, name), content); err != nil {
			return err
		}
	}
	return nil
}

// manual returns a page for every command and every configuration file.
func manual(docs string, s stamp) ([]*page, error) {
	commands, err := readDocument(filepath.Join(docs, "commands.md"))
	if err != nil {
		return nil, err
	}
	configuration, err := readDocument(filepath.Join(docs, "configuration.md"))
	if err != nil {
		return nil, err
	}
	var pages []*page
	for _, root := range programs() {
		for _, p := range commandPages(root, s) {
			if err := p.common(commands, len(pages) == 0); err != nil {
				return nil, err
			}
			p.finish(seeAlso(find(root, p.name)))
			pages = append(pages, p)
		}
	}
	for name, short := range map[string]string{
		"gate.toml": "configuration of a gate of Gatelodge",
		"home.toml": "configuration of a home of Gatelodge",
	} {
		p, err := filePage(configuration, name, short, s)
		if err != nil {
			return nil, fmt.Errorf("configuration.md: %w", err)
		}
		pages = append(pages, p)
	}
	return pages, nil
}

// common writes what holds for every command; where things lie is said once,
// in the first page.
func (p *page) common(commands document, first bool) error {
	for _, title := range []string{"Exit codes", "Where things lie"} {
		if commands[title] == "" {
			return fmt.Errorf("commands.md has no section %q", title)
		}
	}
	p.heading("exit status")
	p.markdown(commands["Exit codes"])
	if first {
		p.heading("files")
		p.markdown(commands["Where things lie"])
	}
	return nil
}

// find returns the command that a page describes.
func find(c *cobra.Command, name string) *cobra.Command {
	if pageName(c) == name {
		return c
	}
	for _, sub := range visible(c) {
		if found := find(sub, name); found != nil {
			return found
		}
	}
	return nil
}

// completions returns the completion of each shell, under the name that the
// shell looks for.
func completions(root *cobra.Command) (map[string][]byte, error) {
	var bash, zsh, fish bytes.Buffer
	if err := root.GenBashCompletionV2(&bash, true); err != nil {
		return nil, fmt.Errorf("completion for bash: %w", err)
	}
	if err := root.GenZshCompletion(&zsh); err != nil {
		return nil, fmt.Errorf("completion for zsh: %w", err)
	}
	if err := root.GenFishCompletion(&fish, true); err != nil {
		return nil, fmt.Errorf("completion for fish: %w", err)
	}
	return map[string][]byte{
		"bash/" + root.Name():           bash.Bytes(),
		"zsh/_" + root.Name():           zsh.Bytes(),
		"fish/" + root.Name() + ".fish": fish.Bytes(),
	}, nil
}

func readDocument(file string) (document, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parseDocument(string(text)), nil
}

func writeFile(file string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}
