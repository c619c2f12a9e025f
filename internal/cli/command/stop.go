package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/problem"
)

// StoppedError is why a command ends that somebody has stopped: Ctrl-C, a terminal
// that was closed, kill(1).
type StoppedError struct{ Signal syscall.Signal }

// Error implements error.
func (e *StoppedError) Error() string { return "stopped" }

// code is that of a shell for a program that a signal has ended (bash(1)).
func (e *StoppedError) code() problem.Kind { return problem.Kind(128 + int(e.Signal)) }

// UntilStopped returns a context that ends with the first of these signals, with a
// *StoppedError as its cause, until release is called. Those after it change nothing:
// what was begun is undone, and a line says so. A signal that the caller has this
// process ignore, as nohup(1) does, stays ignored.
func UntilStopped(errOut io.Writer, signals ...syscall.Signal) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	arrived := make(chan os.Signal, 1)
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(arrived, s)
		}
	}
	go func() {
		for s := range arrived {
			if ctx.Err() != nil {
				fmt.Fprintln(errOut, "gatelodge: stopping; what was begun is undone first, or brought to its end")
				continue
			}
			cancel(&StoppedError{s.(syscall.Signal)})
		}
	}()
	return ctx, func() {
		signal.Stop(arrived)
		close(arrived)
	}
}

// Stopped says what is in force now where err comes of a command that was stopped; any
// other error stays what it is, and so does one that says more than that.
func Stopped(ctx context.Context, err error, now string) error {
	stop, ok := errors.AsType[*StoppedError](context.Cause(ctx))
	if err == nil || !ok || said(err) {
		return err
	}
	end := &stopped{now, stop}
	if more := beside(stop, err); more != nil {
		return errors.Join(end, more) // it has failed, too
	}
	return end
}

// beside returns what an error says beside that the command was stopped.
func beside(stop, err error) error {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		var more []error
		for _, e := range list.Unwrap() {
			more = append(more, beside(stop, e))
		}
		return errors.Join(more...)
	}
	if errors.Is(err, stop) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// said reports whether an error says already what is in force.
func said(err error) bool {
	_, ok := errors.AsType[*stopped](err)
	return ok
}

// stopped is the end of a command that was stopped, with what is in force now.
type stopped struct {
	now  string
	stop *StoppedError
}

func (s *stopped) Error() string { return "stopped; " + s.now }

func (s *stopped) Unwrap() error { return s.stop }
