package terminal

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Screen is a whole terminal on which something is shown again and again. What was
// on it before is there again once it is closed.
type Screen struct {
	out     io.Writer
	in      *os.File       // nil: no keys
	before  *unix.Termios  // of in
	resized chan os.Signal // of other sizes
	keys    chan byte
}

// What a terminal is told (ECMA-48, and xterm's private modes, which those that
// know them not pass over).
const (
	enterScreen  = "\x1b[?1049h\x1b[?25l\x1b[?7l" // the alternate one, no cursor, no wrapping
	leaveScreen  = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	beginDrawing = "\x1b[?2026h\x1b[H"       // at once, at the top
	endOfLine    = "\x1b[K\r\n"              // the rest of it is empty
	endDrawing   = "\x1b[K\x1b[J\x1b[?2026l" // and all below
)

// OpenScreen takes a terminal. Keys are read from in, if that is one, too.
func OpenScreen(in, out any) (*Screen, error) {
	w, ok := out.(*os.File)
	if !ok || !Is(out) {
		return nil, errors.New("the output is not a terminal")
	}
	s := &Screen{out: w, resized: make(chan os.Signal, 1), keys: make(chan byte)}
	if f, ok := in.(*os.File); ok && Is(in) {
		if err := s.listen(f); err != nil {
			return nil, err
		}
	}
	signal.Notify(s.resized, syscall.SIGWINCH)
	_, err := io.WriteString(w, enterScreen)
	return s, err
}

// listen has keys come one by one, and unseen. Ctrl-C stays a signal.
func (s *Screen) listen(in *os.File) error {
	before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	now := *before
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &now); err != nil {
		return err
	}
	s.in, s.before = in, before
	go func() {
		key := make([]byte, 1)
		for {
			if n, err := in.Read(key); err != nil || n == 0 {
				return // nothing more is typed
			}
			s.keys <- key[0]
		}
	}()
	return nil
}

// HasKeys reports whether keys can be pressed.
func (s *Screen) HasKeys() bool { return s.in != nil }

// Keys are those that are pressed.
func (s *Screen) Keys() <-chan byte { return s.keys }

// Resized is told when the terminal has another size.
func (s *Screen) Resized() <-chan os.Signal { return s.resized }

// Draw shows these lines in place of those before.
func (s *Screen) Draw(lines []string) error {
	_, err := io.WriteString(s.out, beginDrawing+strings.Join(lines, endOfLine)+endDrawing)
	return err
}

// Close gives the terminal back as it was.
func (s *Screen) Close() error {
	signal.Stop(s.resized)
	_, err := io.WriteString(s.out, leaveScreen)
	if s.in != nil {
		err = errors.Join(err, unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETS, s.before))
	}
	return err
}

// HasLeft reports whether a stream leads into a pipe that nobody reads.
func HasLeft(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	list := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(list, 0)
	return err == nil && n > 0 && list[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
