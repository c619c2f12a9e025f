package reconcile

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// A hundred that ask while a round is under way share the next: none is served
// by the one that had begun before, and none needs one of its own.
func TestManyShareARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn, ends := make(chan struct{}, 1), make(chan error) // one at a time, as under the gate's lock
		ran := 0
		var r *rounds
		r = newRounds(func() ([]plan.Change, error) {
			turn <- struct{}{}
			defer func() { <-turn }()
			r.begin()
			ran++
			return nil, <-ends
		})
		results := make(chan error, 101)
		ask := func() {
			_, err := r.join(t.Context())
			results <- err
		}
		go ask()
		synctest.Wait()
		for range 100 {
			go ask()
		}
		synctest.Wait()
		ends <- nil
		synctest.Wait()
		if ran != 2 || len(results) != 1 {
			t.Fatalf("after the first round %d have begun, and %d are served", ran, len(results))
		}
		if err := <-results; err != nil {
			t.Error(err)
		}
		failure := errors.New("no nft")
		ends <- failure
		synctest.Wait()
		if ran != 2 || len(results) != 100 {
			t.Fatalf("%d rounds have served %d", ran, len(results))
		}
		for range 100 {
			if err := <-results; err != failure {
				t.Errorf("one of them hears %v", err)
			}
		}
	})
}

// A round that panics does not let those who wait believe that all is well, nor
// wait for ever.
func TestARoundThatPanicsServesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begins := make(chan struct{})
		r := newRounds(func() ([]plan.Change, error) {
			<-begins
			panic("a mistake")
		})
		go func() {
			defer func() { _ = recover() }() // as the server of the control channel does
			_, _ = r.join(t.Context())
		}()
		synctest.Wait()
		waited := make(chan error, 1)
		go func() {
			_, err := r.join(t.Context())
			waited <- err
		}()
		synctest.Wait()
		close(begins)
		if err := <-waited; err == nil {
			t.Error("it counts as done")
		}
		if r.next != nil {
			t.Error("the next one to ask would not be served")
		}
	})
}
