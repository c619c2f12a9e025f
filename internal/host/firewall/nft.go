package firewall

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/step"
)

// ErrMissing reports that nft(8) is not installed.
var ErrMissing = errors.New("nft not found: install the package nftables")

// oldest is the first nft(8) that reads all our documents.
var oldest = version{1, 0, 2}

// loadTimeout is far above what the largest table takes, which is seconds.
const loadTimeout = time.Minute

// VersionError reports an nft(8) that is too old for our documents.
type VersionError struct {
	Found  string // as nft(8) names it, such as "0.9.8"
	Needed string
}

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("nft is version %s; at least %s is needed: upgrade the package nftables", e.Found, e.Needed)
}

// ScriptError reports a document that nft(8) or the kernel refuses.
type ScriptError struct {
	Line, Column int    // of the document, from 1; 0: nft named no place
	Text         string // the offending line
	Message      string // nft's own words
	// Lacks is the part of nf_tables that the kernel does not have, if it
	// refuses the line for that, and Module the one to load.
	Lacks, Module string
}

// Error returns what the kernel lacks, the place, nft's words and the offending
// line.
func (e *ScriptError) Error() string {
	if e.Line == 0 {
		return "nft: " + e.Message
	}
	text := fmt.Sprintf("nft: line %d, column %d: %s in: %s", e.Line, e.Column, e.Message, e.Text)
	if e.Lacks != "" {
		text = fmt.Sprintf("this kernel lacks %s (load it: modprobe %s; or install the kernel's package of modules): %s", e.Lacks, e.Module, text)
	}
	return text
}

type version [3]int

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v version) less(o version) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

var versionPattern = regexp.MustCompile(`\bv(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?`)

// parseVersion reads what "nft --version" prints, such as
// "nftables v1.0.6 (Lester Gooch #5)".
func parseVersion(s string) (version, error) {
	match := versionPattern.FindStringSubmatch(s)
	if match == nil {
		return version{}, fmt.Errorf("nft does not say its version: %.80q", s)
	}
	var v version
	for i := range v {
		v[i], _ = strconv.Atoi(match[i+1]) // the pattern admits digits only; a missing third number is 0
	}
	return v, nil
}

// find returns the path of nft(8).
func find() (string, error) {
	if path, found := netfilter.Find("nft"); found {
		return path, nil
	}
	return "", ErrMissing
}

// checkVersion returns the version of the nft(8) at path, if that will do.
func checkVersion(path string) (version, error) {
	out, err := run(context.Background(), path, "", "--version")
	if err != nil {
		return version{}, fmt.Errorf("cannot ask nft for its version: %w", err)
	}
	found, err := parseVersion(out)
	if err == nil && found.less(oldest) {
		err = &VersionError{Found: found.String(), Needed: oldest.String()}
	}
	return found, err
}

// load hands a document to nft(8), which makes one transaction of it.
func (f *Firewall) load(ctx context.Context, text string, options ...string) error {
	step.At("firewall: before nft")
	out, err := run(ctx, f.nft, text, append(options, "--file", "-")...)
	step.At("firewall: after nft")
	if err == nil {
		return nil
	}
	if _, failed := netfilter.ExitCode(err); ctx.Err() != nil || !failed || strings.TrimSpace(out) == "" {
		return fmt.Errorf("cannot run nft: %w", err)
	}
	return scriptError(out, text)
}

// run returns what nft prints, of which long texts are cut.
func run(ctx context.Context, path, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	return netfilter.Run(ctx, path, stdin, args...)
}

// placePattern matches the first line of nft's complaints, such as
// "/dev/stdin:3:5-9: Error: syntax error, unexpected string".
var placePattern = regexp.MustCompile(`(?m)^\S*:(\d+):(\d+)(?:-\d+)?: Error: (.*)$`)

// scriptError turns nft's first complaint about text into an error.
func scriptError(out, text string) *ScriptError {
	match := placePattern.FindStringSubmatch(out)
	if match == nil {
		return &ScriptError{Message: strings.TrimSpace(out)}
	}
	line, _ := strconv.Atoi(match[1])
	column, _ := strconv.Atoi(match[2])
	e := &ScriptError{Line: line, Column: column, Message: match[3]}
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return e
	}
	e.Text = strings.TrimSpace(lines[line-1])
	blamed := e.Text
	if strings.HasSuffix(blamed, "{") && line < len(lines) {
		blamed = lines[line] // what kind of chain or set it is
	}
	if f, lacks := missingFeature(e.Message, blamed); lacks {
		e.Lacks, e.Module = f.name, f.module
	}
	return e
}
