package main

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// figure is something that is measured within one window.
type figure struct {
	key  string
	take func(context.Context, *stand) (values, error)
}

// figures are taken in this order; peak memory is that of the transfers.
var figures = []figure{
	{"1-in", transfer("1-in", 1, wantSink)},
	{"1-out", transfer("1-out", 1, wantSource)},
	{"8-in", transfer("8-in", 8, wantSink)},
	{"8-out", transfer("8-out", 8, wantSource)},
	{"peak", peak},
	{"echo", echoes},
	{"connections", connections},
	{"latency", latency},
}

// warmUp is how long a load runs before it counts.
const warmUp = 500 * time.Millisecond

// patience is how long one answer may take.
const patience = 2 * time.Second

// sockets is how many visitors are at work at a time where many small things
// are counted.
const sockets = 16

// dial connects to home's service, and says what is wanted of it.
func (s *stand) dial(ctx context.Context, want byte) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := s.lab.Visitor().Dial(ctx, "tcp", s.to.String())
	if err != nil {
		return nil, err
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.New("no TCP connection")
	}
	if _, err := t.Write([]byte{want}); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	// What is on its way when the measurement ends is of no interest.
	return t, t.SetLinger(0)
}

// visit has home's service answer with one byte.
func (s *stand) visit(ctx context.Context) error {
	c, err := s.dial(ctx, wantOneByte)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

// transfer measures streams in one direction, in Gbit/s as they arrive, and
// what both ends compute for a gigabyte.
func transfer(key string, streams int, want byte) func(context.Context, *stand) (values, error) {
	return func(ctx context.Context, s *stand) (values, error) {
		var wait sync.WaitGroup
		defer wait.Wait()
		for range streams {
			c, err := s.dial(ctx, want)
			if err != nil {
				return nil, err
			}
			defer c.Close()
			wait.Go(func() {
				if want == wantSink {
					fill(c)
				} else {
					count(c, &s.received)
				}
			})
		}
		u, err := s.during(ctx, &s.received)
		if err != nil {
			return nil, err
		}
		bytes := u.rate * u.seconds
		return values{key: u.rate * 8 / 1e9, key + "-cpu": u.processor / (bytes / 1e9)}, nil
	}
}

// usage is what happened within a window.
type usage struct {
	seconds   float64
	rate      float64 // of what was counted, per second
	processor float64 // seconds that both ends computed
}

// during watches a counter, for a window after the load has warmed up.
func (s *stand) during(ctx context.Context, counter *atomic.Int64) (usage, error) {
	if err := sleep(ctx, warmUp); err != nil {
		return usage{}, err
	}
	start, first := time.Now(), counter.Load()
	before, err := s.processorTime()
	if err != nil {
		return usage{}, err
	}
	if err := sleep(ctx, s.window); err != nil {
		return usage{}, err
	}
	n, seconds := counter.Load()-first, time.Since(start).Seconds()
	after, err := s.processorTime()
	if n == 0 && err == nil {
		err = errors.New("nothing arrives")
	}
	return usage{seconds: seconds, rate: float64(n) / seconds, processor: after - before}, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// peak returns the most memory both ends have ever had.
func peak(_ context.Context, s *stand) (values, error) {
	gate, home, err := s.memory("VmHWM")
	return values{"gate-peak": gate, "home-peak": home}, err
}

// echoes counts small packets that come back, one on its way per socket.
func echoes(ctx context.Context, s *stand) (values, error) {
	var done atomic.Int64
	var wait sync.WaitGroup
	defer wait.Wait()
	for range sockets {
		c, err := s.lab.Visitor().Dial(ctx, "udp", s.to.String())
		if err != nil {
			return nil, err
		}
		defer c.Close()
		wait.Go(func() { pingPong(c, &done) })
	}
	u, err := s.during(ctx, &done)
	if err != nil {
		return nil, err
	}
	return values{"echo": u.rate, "echo-cpu": u.processor / (u.rate * u.seconds) * 1e6}, nil
}

// pingPong ends when the connection is closed. A lost packet costs its socket
// a tenth of a second.
func pingPong(c net.Conn, done *atomic.Int64) {
	packet, answer := make([]byte, 64), make([]byte, 64)
	for {
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.Write(packet); errors.Is(err, net.ErrClosed) {
			return
		}
		_, err := c.Read(answer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			done.Add(1)
		}
	}
}

// connections counts new connections, each with one byte there and one back.
func connections(ctx context.Context, s *stand) (values, error) {
	var done atomic.Int64
	var failure atomic.Pointer[error]
	var wait sync.WaitGroup
	defer wait.Wait()
	work, stop := context.WithCancel(ctx)
	defer stop()
	for range sockets {
		wait.Go(func() {
			// All of a visitor's connections on one thread of that host: making
			// a thread for each would cost more than the connection.
			err := s.visitor.Do(func() error { return s.connectUntil(work, &done) })
			if err != nil {
				failure.Store(&err)
			}
		})
	}
	u, err := s.during(ctx, &done)
	if e := failure.Load(); e != nil {
		err = *e
	}
	return values{"connections": u.rate}, err
}

// connectUntil makes one connection after the other, until ctx ends.
func (s *stand) connectUntil(ctx context.Context, done *atomic.Int64) error {
	for ctx.Err() == nil {
		c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(s.to))
		if err != nil {
			return err
		}
		if err := oneByte(c); err != nil {
			return err
		}
		done.Add(1)
	}
	return nil
}

// oneByte resets the connection at the end, so that ports are not kept busy.
func oneByte(c *net.TCPConn) error {
	defer c.Close()
	b := []byte{wantOneByte}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(b); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	return c.SetLinger(0)
}

// latency returns the median time of one small request and its answer, on a
// connection that stays, while there is nothing else.
func latency(ctx context.Context, s *stand) (values, error) {
	c, err := s.dial(ctx, wantRequests)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	request, response := make([]byte, requestSize), make([]byte, responseSize)
	var took []time.Duration
	for begin := time.Now(); time.Since(begin) < s.window && ctx.Err() == nil; {
		start := time.Now()
		_ = c.SetDeadline(start.Add(patience))
		if _, err := c.Write(request); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, response); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	if len(took) == 0 {
		return nil, context.Cause(ctx)
	}
	slices.Sort(took)
	return values{"latency": took[len(took)/2].Seconds() * 1e6}, nil
}
