package fair

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
)

// However many homes ask, and however often, one is served at a time; each has
// its turn, and one that asks all the time has no more of it than the pause
// allows.
func TestAShareForEachHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes, pause = 2 * time.Second, 3 * time.Second
		s := NewShare(1, pause)
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		served := make(chan string, 1000)
		busy := make(chan struct{}, 1)
		ask := func(home string) error {
			end, err := s.Begin(ctx, home)
			if err != nil {
				return err
			}
			defer end()
			select {
			case busy <- struct{}{}:
			default:
				t.Error("two are served at once")
			}
			time.Sleep(takes)
			<-busy
			served <- home
			return nil
		}
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for ctx.Err() == nil {
				_ = ask("greedy")
			}
		}()
		time.Sleep(time.Second)
		if err := ask("greedy"); !errors.Is(err, &control.Error{Code: control.TooOften}) {
			t.Errorf("a second question beside the first: %v", err)
		}
		begin := time.Now()
		if err := ask("quiet"); err != nil || time.Since(begin) > 2*takes {
			t.Errorf("another home is served after %v: %v", time.Since(begin), err)
		}
		<-stopped
		if n := len(served) - 1; n > int(time.Minute/(takes+pause))+1 {
			t.Errorf("the greedy one was served %d times in a minute", n)
		}
	})
}

// Who hangs up while waiting leaves nothing behind, and who has not come for
// long is forgotten.
func TestAShareIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShare(1, time.Second)
		end, err := s.Begin(t.Context(), "first")
		if err != nil {
			t.Fatal(err)
		}
		ctx, hangUp := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := s.Begin(ctx, "second")
			gone <- err
		}()
		synctest.Wait()
		hangUp()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("who hung up hears %v", err)
		}
		end()
		for i := range 10 {
			end, err := s.Begin(t.Context(), fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			end()
			time.Sleep(2 * time.Second)
		}
		if len(s.homes) > 2 {
			t.Errorf("remembers %v", s.homes)
		}
	})
}
