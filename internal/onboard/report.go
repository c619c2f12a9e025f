package onboard

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gatelodge/gatelodge/internal/status"
)

// gateReport is what init wants to know of a status.Report that comes from the
// VPS. What is not in it takes no memory here, whatever the VPS sends.
type gateReport struct {
	Running bool `json:"running"`
	Input   *struct {
		State status.InputState `json:"state"`
	} `json:"input"`
	Homes    []named `json:"homes"`
	Invites  []named `json:"invites"`
	Forwards []struct {
		Name string          `json:"name"`
		Home string          `json:"home"`
		In   *status.Traffic `json:"in"`
	} `json:"forwards"`
}

type named struct {
	Name string `json:"name"`
}

// maxReport bounds the report in items: an honest one as long as an answer of the
// VPS may be has fewer.
const maxReport = 150_000

// readReport reads what the VPS has printed. A text of many small items would
// take many times its own length in memory, so they are counted before.
func readReport(text string) (gateReport, error) {
	var r gateReport
	if n := strings.Count(text, ","); n > maxReport {
		return r, fmt.Errorf("cannot read the gate's status: it has %d items", n)
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("cannot read the gate's status: %w", err)
	}
	return r, nil
}

// status asks the gate how it is.
func (v *vps) status(ctx context.Context) (gateReport, error) {
	out, err := v.gatelodge(ctx, "status")
	if err != nil && !isReport(out) {
		return gateReport{}, err
	}
	return readReport(out)
}

// isReport reports whether a gate's daemon has told how it stands, whatever the exit
// status: that says how well it stands.
func isReport(out string) bool {
	r, err := readReport(out)
	return err == nil && r.Running
}

// inState reports whether the gate has an input policy that stands so.
func (r gateReport) inState(state status.InputState) bool {
	return r.Input != nil && r.Input.State == state
}

// arrived counts the packets of visitors that the gate has sent on for the
// proof.
func (r gateReport) arrived(home string) uint64 {
	for _, f := range r.Forwards {
		if f.Name == proofName && f.Home == home && f.In != nil {
			return f.In.Packets
		}
	}
	return 0
}
