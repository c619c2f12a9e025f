// Package terminal is what a person at a terminal reads and types: lines that are
// fit for it, the log, a QR code, answers and secrets.
package terminal

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Is reports whether the stream is a terminal with a person at it.
func Is(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// terminal is a terminal that a person types at; see termios(3).
type terminal struct {
	file   *os.File
	before unix.Termios
}

func openTerminal(f *os.File) (*terminal, error) {
	before, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	return &terminal{file: f, before: *before}, nil
}

// readSecret reads a line without showing it, and shows again what is typed
// then. Without a line there is no secret, and the error is io.EOF.
func (t *terminal) readSecret() (secret string, err error) {
	silent := t.before
	silent.Lflag &^= unix.ECHO
	silent.Lflag |= unix.ICANON | unix.ISIG
	silent.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(int(t.file.Fd()), unix.TCSETS, &silent); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, t.restore()) }()
	line, err := readLine(t.file)
	if errors.Is(err, io.EOF) && line != "" {
		err = nil
	}
	return line, err
}

// restore puts the terminal back as it was.
func (t *terminal) restore() error {
	return unix.IoctlSetTermios(int(t.file.Fd()), unix.TCSETS, &t.before)
}

// readLine reads no more than the line, without its end: what follows is for
// others.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); ; {
		n, err := r.Read(one)
		switch {
		case n > 0 && one[0] == '\n':
			return string(line), nil
		case n > 0:
			line = append(line, one[0])
		case err != nil:
			return string(line), err
		}
	}
}
