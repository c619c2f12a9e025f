package edit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// GiveUp has this machine be no gate or home any longer: it forgets its key and what
// else it remembers as one, and its file is kept beside the place where it was. No daemon
// must run, and the caller is alone. If it is interrupted, it can be called again:
// the role ends with the last step.
func (e Editor) GiveUp(role forward.Role) (err error) {
	st, err := store.Open(e.Paths.State(), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	lock, err := st.Lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := st.Forget(string(role)); err != nil {
		return err
	}
	step.At("role: key forgotten")
	if err := os.Rename(e.Paths.ConfigFile(role), e.Paths.KeptFile(role)); err != nil {
		return fmt.Errorf("cannot keep the file of before: %w", err)
	}
	return nil
}

// Before returns home.toml as it was when this machine left its gate, and how many
// forwards it has. Without one, or if it cannot be read as it is, ok is false.
func (e Editor) Before() (data []byte, forwards int, ok bool, err error) {
	data, err = os.ReadFile(e.Paths.KeptFile(forward.Home))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, false, nil
	}
	if err != nil {
		return nil, 0, false, err
	}
	before, err := config.ReadHome(e.Paths.KeptFile(forward.Home), data)
	if err != nil {
		return nil, 0, false, err
	}
	return data, len(before.Home.Forwards), true, nil
}
