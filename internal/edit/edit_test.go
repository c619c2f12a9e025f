package edit

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/status"
)

// fake is a daemon that notes the file each time it is asked to apply it.
type fake struct {
	t       *testing.T
	file    string
	applied []string // what was in the file
	answer  func(n int) (local.ApplyResponse, error)
}

func (f *fake) Apply(ctx context.Context, _ local.ApplyRequest) (local.ApplyResponse, error) {
	text, err := os.ReadFile(f.file)
	if err != nil {
		f.t.Error(err)
	}
	f.applied = append(f.applied, string(text))
	if ctx.Err() != nil {
		return local.ApplyResponse{}, ctx.Err()
	}
	return f.answer(len(f.applied))
}

const before = "# mine\nversion = 1\n"

func newEditor(t *testing.T, role forward.Role, answer func(n int) (local.ApplyResponse, error)) (Editor, *fake) {
	t.Helper()
	e := Editor{Paths: layout.Paths{Root: t.TempDir()}, Waits: func(string) {}}
	if err := e.Create(role, []byte(before)); err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, file: e.Paths.ConfigFile(role), answer: answer}
	e.Daemon = f
	return e, f
}

// says makes an answer about the forward web.
func says(state status.State, reason string) func(int) (local.ApplyResponse, error) {
	return func(int) (local.ApplyResponse, error) {
		return local.ApplyResponse{Report: status.Report{Role: "home", Forwards: []status.Forward{{Name: "web", State: state, Reason: reason}}}}, nil
	}
}

func fails(err error) func(int) (local.ApplyResponse, error) {
	return func(n int) (local.ApplyResponse, error) {
		if n > 1 {
			return local.ApplyResponse{}, nil
		}
		return local.ApplyResponse{}, err
	}
}

// What cannot be published does not stay in the file, and the daemon is told of
// both; without a daemon it stays for the next.
func TestPublishIsOneTransaction(t *testing.T) {
	for name, c := range map[string]struct {
		answer  func(int) (local.ApplyResponse, error)
		stays   bool
		running bool
		err     string
	}{
		"granted":          {says(status.Granted, ""), true, true, ""},
		"no answer yet":    {says(status.Pending, ""), true, true, ""},
		"refused":          {says(status.Refused, "port 443 is reserved"), false, true, "the gate refuses web: port 443 is reserved"},
		"cannot be":        {says(status.Pending, "no such address"), false, true, "web cannot be published: no such address"},
		"not known":        {fails(nil), false, true, "the daemon does not know web"},
		"refused to apply": {fails(errors.New("a rule is wrong")), false, false, "a rule is wrong"},
		"no daemon":        {fails(local.ErrNotRunning), true, false, ""},
	} {
		e, f := newEditor(t, forward.Home, c.answer)
		p, err := e.Publish(t.Context(), config.NewForward{Name: "web", Ports: []string{"443"}})
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || p.Running != c.running {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		var refused *RefusedError
		if errors.As(err, &refused) != (name == "refused") {
			t.Errorf("%s: %#v", name, err)
		}
		now, err := os.ReadFile(f.file)
		if err != nil {
			t.Fatal(err)
		}
		if stays := string(now) != before; stays != c.stays {
			t.Errorf("%s: home.toml is %q", name, now)
		}
		if last := f.applied[len(f.applied)-1]; last != string(now) {
			t.Errorf("%s: the file is %q, and %q is applied", name, now, last)
		}
	}
}

// Ctrl-C while the daemon works reverts the change, with a daemon that hears.
func TestCtrlCRevertsAChange(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	e, f := newEditor(t, forward.Home, func(n int) (local.ApplyResponse, error) {
		if n == 1 {
			stop()
			return local.ApplyResponse{}, ctx.Err()
		}
		return local.ApplyResponse{}, nil
	})
	_, err := e.Publish(ctx, config.NewForward{Name: "web", Ports: []string{"443"}})
	if !errors.Is(err, context.Canceled) || len(f.applied) != 2 || f.applied[1] != before {
		t.Errorf("%v, applied %q", err, f.applied)
	}
}

// What is no longer to be published does not come back because the daemon
// fails.
func TestUnpublishStays(t *testing.T) {
	for _, failure := range []error{nil, local.ErrNotRunning, errors.New("a rule is wrong")} {
		e, f := newEditor(t, forward.Home, says(status.Granted, ""))
		if _, err := e.Publish(t.Context(), config.NewForward{Name: "web", Ports: []string{"443"}}); err != nil {
			t.Fatal(err)
		}
		f.answer = func(int) (local.ApplyResponse, error) { return local.ApplyResponse{}, failure }
		err := e.Unpublish(t.Context(), "web")
		told := failure != nil && !errors.Is(failure, local.ErrNotRunning)
		if (err != nil) != told || told && !strings.Contains(err.Error(), "web was removed from home.toml") {
			t.Errorf("%v: %v", failure, err)
		}
		if now, err := os.ReadFile(f.file); err != nil || string(now) != before {
			t.Errorf("%v: home.toml is %q, %v", failure, now, err)
		}
	}
}

// A file that cannot be restored is said beside why it was to be.
func TestAFailedWayBackIsSaid(t *testing.T) {
	for words, then := range map[string]func(file string) (local.ApplyResponse, error){
		"home.toml could not be restored": func(file string) (local.ApplyResponse, error) {
			return local.ApplyResponse{}, os.Remove(file)
		},
		"home.toml is as it was, but could not be applied again": func(string) (local.ApplyResponse, error) {
			return local.ApplyResponse{}, nil
		},
	} {
		e, f := newEditor(t, forward.Home, nil)
		f.answer = func(n int) (local.ApplyResponse, error) {
			if n == 1 {
				return then(f.file)
			}
			return local.ApplyResponse{}, errors.New("it is broken")
		}
		_, err := e.Publish(t.Context(), config.NewForward{Name: "web", Ports: []string{"443"}})
		if err == nil || !strings.Contains(err.Error(), "does not know web") || !strings.Contains(err.Error(), words) {
			t.Errorf("%v does not say %q", err, words)
		}
	}
}
