package firewall_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

func TestSavedGuardsAreFound(t *testing.T) {
	ns := netnstest.New(t, "gate")
	g := openGuard(t)
	inside(t, ns, func() { must(t, g.Raise(gateWant())) })
	saved := "#!/usr/sbin/nft -f\n\nflush ruleset\n" + guardTable(t, ns)
	if said := nftRefusal(t, ns, saved); !strings.Contains(said, "Operation not permitted") {
		t.Errorf("the file is loaded while the guard stands: %q", said)
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"none":      {nil, nil},
		"not saved": {map[string]string{"etc/nftables.conf": "table inet filter {\n}\ntable inet gatelodge0 {\n}\n"}, nil},
		"mentioned": {map[string]string{"etc/nftables.conf": "# table inet gatelodge0.guard is not ours\n"}, nil},
		"whole":     {map[string]string{"etc/nftables.conf": saved}, []string{"etc/nftables.conf:4"}},
		"included": {map[string]string{
			"etc/nftables.conf": "include \"/etc/more/*.nft\"\ninclude \"relative.nft\"\ninclude \"/etc/nftables.conf\"\n",
			"etc/more/a.nft":    "table inet gatelodge0.guard{\n}\n",
			"etc/relative.nft":  "\ntable inet gatelodge0.guard {\n}\n",
		}, []string{"etc/more/a.nft:1", "etc/relative.nft:2"}},
		"beside": {map[string]string{"etc/nftables.d/x.nft": saved, "etc/sysconfig/nftables.conf": saved}, []string{"etc/sysconfig/nftables.conf:4", "etc/nftables.d/x.nft:4"}},
	} {
		root := t.TempDir()
		for file, text := range c.files {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755))
			must(t, os.WriteFile(filepath.Join(root, file), []byte(text), 0o644))
		}
		var got []string
		for _, place := range firewall.SavedGuards(root, tableName) {
			got = append(got, strings.TrimPrefix(place, root+"/"))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: found %q instead of %q", name, got, c.want)
		}
	}
}
