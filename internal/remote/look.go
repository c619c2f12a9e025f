package remote

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/survey"
)

// lookTime bounds the looking: a machine short of memory may need long.
const lookTime = time.Minute

// Look finds out what the machine is. It changes nothing there, and its scripts
// are all that is carried out before the owner has agreed. What belongs to
// gatelodge is looked for below root. Rise comes before.
func (c *Conn) Look(ctx context.Context, root string) (survey.Facts, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTime, fmt.Errorf("no answer within %s", lookTime))
	defer cancel()
	root = strings.TrimRight(root, "/")
	script := "root_prefix=" + Quote(root) + "\n" + survey.Script
	out := &answer{begun: true} // a line of the script's own is the mark
	if err := c.run(ctx, Quote("sh"), strings.NewReader(script), out); err != nil {
		return survey.Facts{}, fmt.Errorf("cannot look at the VPS: %w", err)
	}
	f, err := survey.Parse(out.text.String())
	if err != nil {
		return f, fmt.Errorf("on the VPS: %w", err)
	}
	kept, err := c.Root(ctx, Command{Script: survey.KeptScript, Args: []string{root}})
	if err != nil {
		return f, fmt.Errorf("cannot look at what gatelodge keeps on the VPS: %w", err)
	}
	if err := f.Take(kept); err != nil {
		return f, fmt.Errorf("on the VPS: %w", err)
	}
	return f, nil
}
