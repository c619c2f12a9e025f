package terminal

import (
	"bytes"
	"strings"
	"testing"
)

// An invite's code fits on a terminal of 80 columns, and all its rows have the
// same width.
func TestQRCode(t *testing.T) {
	var out bytes.Buffer
	if err := WriteQR(&out, "GL1-"+strings.Repeat("01234567-", 16)+"0"); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for _, r := range rows {
		if len([]rune(r)) != len([]rune(rows[0])) {
			t.Fatal("the rows differ in width")
		}
	}
	if len(rows) > 40 || len([]rune(rows[0])) > 80 {
		t.Errorf("%d rows of %d columns do not fit a terminal", len(rows), len([]rune(rows[0])))
	}
}
