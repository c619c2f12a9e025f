package status

import (
	"fmt"
	"time"
)

// Span says in short how long something took or is past: 12s, 1m24s, 5h03m, 9d. It
// is never negative: a clock may have been set back since.
func Span(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	switch {
	case d < time.Hour:
		return d.String()
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// At says when something was: by the clock alone where it was today.
func At(now, t time.Time) string {
	t = t.In(now.Location())
	if now.YearDay() == t.YearDay() && now.Year() == t.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("2 Jan 15:04")
}

// Counted puts a number before what there is so many of: 1 packet, 2 packets.
func Counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
