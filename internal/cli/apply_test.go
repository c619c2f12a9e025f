package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/cli/command/commandtest"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// What homes publish ends only once the gate's owner has agreed.
func TestApplyAsksBeforeAForwardEnds(t *testing.T) {
	ends := []plan.Ending{{Forward: "web", Home: "attic", Ports: []string{"443/tcp"}}}
	const lines = "this ends web of home \"attic\": 443/tcp\n"
	const nobody = "gatelodge: error: there is nobody to ask: the input is not a terminal\ngatelodge: hint: add --yes\n"
	for _, c := range []struct {
		name, role, args string
		ends             []plan.Ending
		code             int
		out, errOut      string
		asked            string
	}{
		{"it ends something", "gate", "apply", ends, 2, lines, nobody, "plan"},
		{"as JSON", "gate", "apply --json", ends, 2, "", `{"error":{"message":"with --json nobody is asked","hint":"add --yes","code":2}}` + "\n", "plan"},
		{"agreed", "gate", "apply --yes", ends, 0, "nothing to change\n", "", "apply"},
		{"it ends nothing", "gate", "apply", nil, 0, "nothing to change\n", "", "plan apply"},
		{"a home", "home", "apply", ends, 0, "nothing to change\n", "", "apply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, "etc/gatelodge", c.role+".toml")
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("version = 1\n"), 0o644)); err != nil {
				t.Fatal(err)
			}
			var asked []string
			mux := http.NewServeMux()
			answer := func(path string, with any) {
				mux.HandleFunc("/v2/"+path, func(w http.ResponseWriter, _ *http.Request) {
					asked = append(asked, path)
					if err := json.NewEncoder(w).Encode(with); err != nil {
						t.Error(err)
					}
				})
			}
			answer("plan", local.PlanResponse{Ends: c.ends})
			answer("apply", local.ApplyResponse{})
			commandtest.ServeSocket(t, (&command.App{Root: root}).Paths().Socket(), mux)
			var out, errOut bytes.Buffer
			code := Run(t.Context(), append([]string{"--root", root}, strings.Fields(c.args)...), strings.NewReader("y\n"), &out, &errOut)
			if code != c.code || out.String() != c.out || errOut.String() != c.errOut || strings.Join(asked, " ") != c.asked {
				t.Errorf("exit code %d, asked %v, said\n%s%s", code, asked, out.String(), errOut.String())
			}
		})
	}
}
