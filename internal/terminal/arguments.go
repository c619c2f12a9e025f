package terminal

import (
	"bytes"
	"os"
	"slices"
	"unsafe"
)

// HideArguments writes over arguments where all users of this machine can read
// them as long as this process runs (proc_pid_cmdline(5)): an invite that the
// gate does not answer to would stand there for a quarter of a minute.
func HideArguments(args []string) {
	for _, arg := range os.Args[1:] { // whose strings are the kernel's own copy
		if slices.Contains(args, arg) {
			own := unsafe.Slice(unsafe.StringData(arg), len(arg))
			copy(own, bytes.Repeat([]byte{'-'}, len(own)))
		}
	}
}
