package firewall_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

// lackingNFT is an nft(8) on a kernel that refuses the first line with a word,
// as nft 1.0.6 says it.
const lackingNFT = `#!/bin/sh
[ "$1" = --version ] && exec REAL --version
n=$(grep -nE -m1 "$LACKED" | cut -d: -f1)
[ -n "$n" ] || exit 0
echo "/dev/stdin:$((n$AT)):3-22: Error: Could not process rule: $SAYS"
echo "		the rule"
echo "		^^^^^^^^^^^^^^^^^^^^"
exit 1
`

func TestErrorsNameWhatTheKernelLacks(t *testing.T) {
	real, err := exec.LookPath("nft")
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "nft"), []byte(strings.Replace(lackingNFT, "REAL", real, 1)), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	const missing, unsupported = "No such file or directory", "Operation not supported"
	tests := []struct {
		word, at, says string // at: lines off
		lacks, module  string
	}{
		{"fib (s|d)addr", "", missing, "nft_fib", "nft_fib_inet"},
		{"fib (s|d)addr", "", unsupported, "nft_fib", "nft_fib_inet"},
		{"ct count over", "", missing, "nft_connlimit", "nft_connlimit"},
		{"limit rate", "", missing, "nft_limit", "nft_limit"},
		{"masquerade$", "", missing, "nft_masq", "nft_masq"},
		{"type nat hook", "-1", missing, "nft_chain_nat", "nft_chain_nat"},
		{"fib (s|d)addr", "", "Operation not permitted", "", ""},
		{"fib (s|d)addr", "", "Device or resource busy", "", ""},
	}
	ns := netnstest.New(t, "lacking")
	for _, tt := range tests {
		t.Setenv("LACKED", tt.word)
		t.Setenv("AT", tt.at)
		t.Setenv("SAYS", tt.says)
		f, want := open(t), homeWant()
		want.Home.Connections = 1000
		inside(t, ns, func() {
			err := f.Apply(context.Background(), want)
			script, ok := errors.AsType[*firewall.ScriptError](err)
			if !ok {
				t.Errorf("%s: %v", tt.word, err)
				return
			}
			if script.Lacks != tt.lacks || script.Module != tt.module {
				t.Errorf("%s: %s: %v", tt.word, tt.says, err)
			}
			if named := strings.Contains(err.Error(), "this kernel lacks "+tt.lacks+" (load it: modprobe "+tt.module); named != (tt.lacks != "") {
				t.Errorf("%s: it says %v", tt.word, err)
			}
		})
	}
}
