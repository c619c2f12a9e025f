package machine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// agent talks to the QEMU guest agent of one machine. Its protocol is one
// JSON object a line each way (qemu-ga's reference, docs/interop/qemu-ga-ref).
type agent struct {
	conn net.Conn
	in   *bufio.Reader
	mu   sync.Mutex // held from a question to its answer
	lost bool       // an answer may still come to a question given up
}

// dialAgent connects to the machine's end of the line, which is there as soon
// as the emulator is.
func dialAgent(ctx context.Context, socket string) (*agent, error) {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			return &agent{conn: conn, in: bufio.NewReader(conn)}, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cannot reach the guest agent: %w", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (a *agent) close() error { return a.conn.Close() }

// syncEvery is how often an agent that does not answer is asked again: what
// was asked before it started is lost.
const syncEvery = 500 * time.Millisecond

// sync waits until the agent answers.
func (a *agent) sync(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.syncLocked(ctx)
}

func (a *agent) syncLocked(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, syncEvery)
		err := a.ask(try, "guest-sync", map[string]any{"id": rand.Int64N(1 << 50)}, new(int64))
		cancel()
		if err == nil {
			a.lost = false
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the guest agent does not answer: %w", context.Cause(ctx))
		}
	}
}

// call asks one question and waits for its answer.
func (a *agent) call(ctx context.Context, command string, arguments map[string]any, result any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost {
		if err := a.syncLocked(ctx); err != nil {
			return err
		}
	}
	err := a.ask(ctx, command, arguments, result)
	if _, said := errors.AsType[*agentError](err); err != nil && !said {
		a.lost = true
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return err
}

// agentError is the agent's own word that it cannot do something.
type agentError struct{ Desc string }

// Error implements error.
func (e *agentError) Error() string { return "the guest agent: " + e.Desc }

func (a *agent) ask(ctx context.Context, command string, arguments map[string]any, result any) error {
	stop := context.AfterFunc(ctx, func() { _ = a.conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		stop()
		_ = a.conn.SetDeadline(time.Time{})
	}()
	question, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments})
	if err != nil {
		return err
	}
	if _, err := a.conn.Write(append(question, '\n')); err != nil {
		return err
	}
	for {
		line, err := a.in.ReadBytes('\n')
		if err != nil {
			return err
		}
		var answer struct {
			Return json.RawMessage
			Error  *agentError
		}
		switch {
		case json.Unmarshal(bytes.Trim(line, "\xff\r\n"), &answer) != nil:
			continue // half a line, of before
		case command == "guest-sync" && string(answer.Return) != fmt.Sprint(arguments["id"]):
			continue // the answer to something older
		case answer.Error != nil:
			return answer.Error
		}
		return json.Unmarshal(answer.Return, result)
	}
}

// start starts a program and returns its process number.
func (a *agent) start(ctx context.Context, args []string) (int, error) {
	var started struct{ PID int }
	err := a.call(ctx, "guest-exec", map[string]any{"path": args[0], "arg": args[1:], "capture-output": true}, &started)
	return started.PID, err
}

// run runs a program to its end.
func (a *agent) run(ctx context.Context, args []string) (string, error) {
	pid, err := a.start(ctx, args)
	if err != nil {
		return "", err
	}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		var s struct {
			Exited   bool
			ExitCode int
			Signal   int
			OutData  []byte `json:"out-data"`
			ErrData  []byte `json:"err-data"`
		}
		if err := a.call(ctx, "guest-exec-status", map[string]any{"pid": pid}, &s); err != nil {
			return "", err
		}
		switch {
		case s.Exited && s.ExitCode == 0 && s.Signal == 0:
			return string(s.OutData), nil
		case s.Exited:
			return string(s.OutData), &ExitError{Args: args, Status: s.ExitCode + 128*min(s.Signal, 1) + s.Signal, Stdout: string(s.OutData), Stderr: string(s.ErrData)}
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
