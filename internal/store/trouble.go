package store

import (
	"errors"
	"syscall"
)

// Trouble says what is wrong with the disk, if that is what an error is about.
// Other machines may know: they cannot fix it, but tell its owner.
func Trouble(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "its disk is full"
	case errors.Is(err, syscall.EROFS):
		return "its disk is read-only"
	case errors.Is(err, syscall.EIO):
		return "its disk reports errors"
	}
	return ""
}
