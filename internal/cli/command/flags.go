package command

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatelodge/gatelodge/internal/words"
)

// flag is a value as the command line gives it. All flags but the switches are of
// this type: none takes an empty value for a missing one, which is what an unset
// variable of the shell makes of it, and none answers in the words of a library.
type flag struct {
	kind  string // as help shows it
	shown string // the value as text
	set   func(text string) error
}

// String implements pflag.Value.
func (f *flag) String() string { return f.shown }

// Type implements pflag.Value.
func (f *flag) Type() string { return f.kind }

// Set implements pflag.Value.
func (f *flag) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("it is empty: give it a value, or leave it out")
	}
	if err := f.set(text); err != nil {
		return err
	}
	f.shown = text
	return nil
}

// Text defines a flag that takes text, which is never empty.
func Text(fs *pflag.FlagSet, at *string, name, usual, usage string) {
	*at = usual
	fs.Var(&flag{"text", usual, func(text string) error { *at = text; return nil }}, name, usage)
}

// Texts defines a flag that takes each of its values as it is, and may be repeated.
func Texts(fs *pflag.FlagSet, at *[]string, name, usage string) {
	fs.Var(&flag{"text", "", func(text string) error { *at = append(*at, text); return nil }}, name, usage)
}

// List defines a flag that takes words joined by commas, and may be repeated. Read
// makes of each what it means; nil leaves it as it is.
func List(fs *pflag.FlagSet, at *[]string, name, usage string, read func(string) (string, error)) {
	fs.Var(&flag{"list", "", func(text string) error {
		for word := range strings.SplitSeq(text, ",") {
			word = strings.TrimSpace(word)
			if word == "" {
				return fmt.Errorf("%.80q has an empty part", text)
			}
			if read != nil {
				var err error
				if word, err = read(word); err != nil {
					return err
				}
			}
			*at = append(*at, word)
		}
		return nil
	}}, name, usage)
}

// Duration defines a flag that takes a span of time.
func Duration(fs *pflag.FlagSet, at *time.Duration, name string, usual time.Duration, usage string) {
	*at = usual
	fs.Var(&flag{"time", brief(usual), func(text string) (err error) {
		*at, err = words.Duration(text)
		return err
	}}, name, usage)
}

// brief writes a span of whole hours or seconds as people do.
func brief(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// Port defines a flag that takes a port; usual 0 is none. Short is its letter, or "".
func Port(fs *pflag.FlagSet, at *uint16, name, short string, usual uint16, usage string) {
	*at = usual
	fs.VarP(&flag{"port", strconv.Itoa(int(usual)), func(text string) error {
		n, err := words.Number(text, "port", 65535)
		*at = uint16(n)
		return err
	}}, name, short, usage)
}

// Count defines a flag that takes how many of what there may be; none is 0.
func Count(fs *pflag.FlagSet, at *uint32, name, what, usage string) {
	const most = 1<<32 - 1
	fs.Var(&flag{"number", "0", func(text string) error {
		n, err := words.Number(text, what, most)
		*at = uint32(n)
		return err
	}}, name, usage)
}

// flagError says in our words what is wrong with a flag.
func flagError(c *cobra.Command, err error) error {
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return Usage(c, noSuchFlag(c, missing))
	}
	if lacks, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return Usage(c, fmt.Errorf("--%s needs a value", lacks.GetFlag().Name))
	}
	if syntax, ok := errors.AsType[*pflag.InvalidSyntaxError](err); ok {
		return Usage(c, fmt.Errorf("%.80q is not a flag", syntax.GetSpecifiedFlag()))
	}
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return Usage(c, err)
	}
	f := invalid.GetFlag()
	if _, ours := f.Value.(*flag); !ours {
		return Usage(c, fmt.Errorf("--%s takes no value", f.Name)) // a switch
	}
	return Usage(c, fmt.Errorf("--%s: %w", f.Name, errors.Unwrap(err)))
}

func noSuchFlag(c *cobra.Command, missing *pflag.NotExistError) error {
	short := missing.GetSpecifiedShortnames()
	switch {
	case short != "" && short[0] >= '0' && short[0] <= '9':
		return fmt.Errorf("%q is not a port: ports go from 1 to 65535", "-"+short)
	case short != "":
		return fmt.Errorf("%s has no flag -%s", c.CommandPath(), short)
	}
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	name := missing.GetSpecifiedName()
	if near := words.Nearest(name, known); near != "" {
		return fmt.Errorf("%s has no flag --%s; did you mean --%s?", c.CommandPath(), name, near)
	}
	return fmt.Errorf("%s has no flag --%s", c.CommandPath(), name)
}

// Excludes returns an error where two switches are given that exclude each other.
func Excludes(c *cobra.Command, one, other string) error {
	if c.Flags().Changed(one) && c.Flags().Changed(other) {
		return Usage(c, fmt.Errorf("--%s and --%s exclude each other", one, other))
	}
	return nil
}
