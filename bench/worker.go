package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// reply is a line of a worker's output.
type reply struct {
	Values values `json:"values,omitempty"`
	Error  string `json:"error,omitempty"`
}

// worker is a process of this program with a lab of its own. It is asked for
// one figure at a time by its key, a line of input each, and ends with its
// input: so it does not outlive the one that asks.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// startWorker starts a worker; its first answer comes once it is set up.
func startWorker(ctx context.Context, o options, kind string) (*worker, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-worker", kind, "-binary", o.program(kind),
		"-wireguard-go", o.PlainWG, "-window", o.Window.String(), fmt.Sprintf("-whole=%t", o.Whole))
	cmd.Stderr = os.Stderr
	// Time to take the lab down.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &worker{cmd: cmd, in: in, out: bufio.NewScanner(out)}, cmd.Start()
}

// program is the build of Gatelodge that a worker's lab runs.
func (o options) program(kind string) string {
	if kind == kindBeside {
		return o.Beside
	}
	return o.Binary
}

// ask has the worker take a figure.
func (w *worker) ask(key string) (values, error) {
	if _, err := fmt.Fprintln(w.in, key); err != nil {
		return nil, err
	}
	return w.answer()
}

func (w *worker) answer() (values, error) {
	if !w.out.Scan() {
		return nil, errors.Join(errors.New("the worker has ended"), w.out.Err())
	}
	var r reply
	if err := json.Unmarshal(w.out.Bytes(), &r); err != nil {
		return nil, err
	}
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	return r.Values, nil
}

// end has the worker take its lab down, and waits until it has.
func (w *worker) end() {
	_ = w.in.Close()
	if err := w.cmd.Wait(); err != nil {
		logf("bench: a worker ended badly: %v", err)
	}
}

// runWorker is the worker's own side.
func runWorker(o options) error {
	status, outside, err := lab.Enter()
	if err != nil {
		return err
	}
	if outside {
		os.Exit(status)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	s, v, err := newStand(ctx, o)
	if s != nil {
		defer s.close()
	}
	if err != nil {
		return say(reply{Error: err.Error()})
	}
	if err := say(reply{Values: v}); err != nil {
		return err
	}
	return s.serve(ctx, os.Stdin)
}

// serve takes the figures that are asked for, until the input or ctx ends.
func (s *stand) serve(ctx context.Context, in io.Reader) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(in); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case key, more := <-lines:
			if !more {
				return nil
			}
			if err := say(s.take(ctx, key)); err != nil {
				return err
			}
		}
	}
}

// say writes a line for the one who asks.
func say(r reply) error { return json.NewEncoder(os.Stdout).Encode(r) }
