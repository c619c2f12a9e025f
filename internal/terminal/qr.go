package terminal

import (
	"fmt"
	"io"

	"rsc.io/qr"
)

// WriteQR draws a text with half blocks, dark on light whatever the terminal's
// colours are, within the quiet zone of four modules that the standard asks
// for (ISO/IEC 18004).
func WriteQR(w io.Writer, text string) error {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return fmt.Errorf("cannot draw the QR code: %w", err)
	}
	const quiet = 4
	blocks := map[[2]bool]string{{false, false}: "█", {false, true}: "▀", {true, false}: "▄", {true, true}: " "}
	for y := -quiet; y < code.Size+quiet; y += 2 {
		line := ""
		for x := -quiet; x < code.Size+quiet; x++ {
			line += blocks[[2]bool{code.Black(x, y), code.Black(x, y+1)}]
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
