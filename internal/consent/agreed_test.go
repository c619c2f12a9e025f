package consent

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/host/remedy"
	"github.com/gatelodge/gatelodge/internal/layout"
)

// A report asks what was found and agreed to while somebody looks, which may take
// as long as the programs of other firewalls do.
func TestAReportDoesNotWaitForALook(t *testing.T) {
	p := layout.Paths{Root: t.TempDir()}
	o := NewOthers(p, event.Log{To: slog.New(slog.DiscardHandler)})
	o.looking.Lock() // as a look under way does
	defer o.looking.Unlock()
	o.ReadAgreed()
	if o.Agreed() == nil || len(o.Agreed()) != 0 || len(o.Last()) != 0 {
		t.Errorf("without a list: %v, %v", o.Agreed(), o.Last())
	}
	if err := os.MkdirAll(filepath.Dir(p.Remedies()), 0o755); err != nil {
		t.Fatal(err)
	}
	r := host.Remedy{Tool: remedy.UFW, Port: 55107, Protocol: "udp"}
	if err := note(p, []Remedy{r}); err != nil {
		t.Fatal(err)
	}
	o.ReadAgreed()
	if got := o.Agreed(); !slices.Equal(got, []string{r.String()}) || len(o.Last()) != 0 {
		t.Errorf("agreed to %v, problems %v", got, o.Last())
	}
	if err := os.WriteFile(p.Remedies(), []byte("[{]"), 0o644); err != nil {
		t.Fatal(err)
	}
	o.ReadAgreed()
	if last := o.Last(); len(last) != 1 || !strings.Contains(last[0], "remedies.json") || len(o.Agreed()) != 0 {
		t.Errorf("of a list that is spoiled: %v, problems %v", o.Agreed(), last)
	}
}
