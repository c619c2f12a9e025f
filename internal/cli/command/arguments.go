package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/words"
)

// None is for commands without arguments.
func None(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usage(c, fmt.Errorf("%s takes no argument, and %.80q is one", c.CommandPath(), args[0]))
	}
	return nil
}

// Some is for commands that take from least to most arguments; most 0: any number.
// Lacks says what a command line without them lacks.
func Some(least, most int, lacks string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return Usage(c, fmt.Errorf("%s needs %s", c.CommandPath(), lacks))
		case most > 0 && len(args) > most:
			return Usage(c, fmt.Errorf("%s takes no more than %s: %.80q is one too many", c.CommandPath(), Counted(most, "argument", "arguments"), args[most]))
		}
		return nil
	}
}

// otherWords are what people type who come from other programs, and what it is here.
var otherWords = map[string]string{
	"restart":  `to read the file again: gatelodge apply; to restart the daemon: systemctl restart gatelodge`,
	"stop":     `to stop and leave the machine as it was found: gatelodge down; the daemon alone: systemctl stop gatelodge`,
	"enable":   `systemctl enable gatelodge; gate init and join have done that`,
	"disable":  `systemctl disable gatelodge`,
	"config":   `the file is /etc/gatelodge/home.toml, on a VPS gate.toml; check it: gatelodge check`,
	"qr":       `an invite with a QR code: gatelodge gate invite NAME --qr, on the VPS`,
	"invite":   `on the VPS: gatelodge gate invite NAME`,
	"homes":    `on the VPS: gatelodge gate homes`,
	"revoke":   `on the VPS: gatelodge gate revoke NAME`,
	"add":      `to publish a port, at home: gatelodge expose PORT`,
	"publish":  `to publish a port, at home: gatelodge expose PORT`,
	"open":     `to publish a port, at home: gatelodge expose PORT`,
	"forward":  `to publish a port, at home: gatelodge expose PORT`,
	"close":    `to stop publishing a forward, at home: gatelodge unexpose NAME`,
	"update":   `install the new package: your package manager does that`,
	"upgrade":  `install the new package: your package manager does that`,
	"setup":    `gatelodge init root@VPS`,
	"connect":  `gatelodge join INVITE`,
	"login":    `gatelodge join INVITE`,
	"test":     `gatelodge doctor`,
	"diagnose": `gatelodge doctor`,
	"fix":      `gatelodge doctor --fix`,
}

// Commands is for commands that only hold others: what follows must be one of them.
func Commands(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return unknown(c, args[0])
}

// unknown says of a word that is no command which one was likely meant.
func unknown(c *cobra.Command, word string) error {
	if hint, ok := otherWords[strings.ToLower(word)]; ok && !c.HasParent() {
		return Fail(ExitUsage, hint, "there is no command %.80q", word)
	}
	if hint := meant(word); hint != "" && !c.HasParent() {
		return Fail(ExitUsage, hint, "there is no command %.80q", word)
	}
	what := fmt.Sprintf("there is no command %.80q", word)
	if c.HasParent() {
		what += " of " + c.CommandPath()
	}
	if near := words.Nearest(strings.ToLower(word), commandsOf(c)); near != "" {
		what += fmt.Sprintf("; did you mean %q?", near)
	}
	return Fail(ExitUsage, c.CommandPath()+" --help", "%s", what)
}

// meant guesses the command from what it was to be given.
func meant(word string) string {
	if strings.Contains(word, "@") {
		return "gatelodge init " + word
	}
	if port, err := words.Mapping(word); err == nil {
		return "gatelodge expose " + port
	}
	return ""
}

func commandsOf(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
			names = append(names, sub.Aliases...)
		}
	}
	return names
}

// InOurWords has a tree of commands answer a wrong command line in our words, also
// where the commands are the library's own: help and completion.
func InOurWords(root *cobra.Command) {
	root.SetFlagErrorFunc(flagError)
	offerNoFiles(root)
	root.SetHelpCommand(helpCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == "completion" })
	if i < 0 {
		return
	}
	completion := root.Commands()[i]
	completion.Short = "Print completions for a shell"
	completion.Args, completion.RunE = Commands, func(c *cobra.Command, _ []string) error { return c.Help() }
	for _, shell := range completion.Commands() {
		shell.Args = None
	}
}

// offerNoFiles has Tab offer files to those commands alone that take one: check.
func offerNoFiles(c *cobra.Command) {
	if c.ValidArgsFunction == nil && c.Name() != "check" {
		c.ValidArgsFunction = Nothing
	}
	for _, sub := range c.Commands() {
		offerNoFiles(sub)
	}
}

// helpCommand is help, which also says that there is no such command.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Say more about a command",
		RunE: func(c *cobra.Command, args []string) error {
			at := c.Root()
			for _, word := range args {
				i := slices.IndexFunc(at.Commands(), func(sub *cobra.Command) bool { return sub.Name() == word || sub.HasAlias(word) })
				if i < 0 {
					return unknown(at, word)
				}
				at = at.Commands()[i]
			}
			at.InitDefaultHelpFlag()
			return at.Help()
		},
	}
}
