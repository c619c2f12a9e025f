// Package words reads what people type on a command line: as they think of it, where
// there is one meaning, and otherwise with an error that says how to write it.
package words

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// services are the names that people have for ports (RFC 6335 keeps the whole list),
// as they are written to publish them.
var services = map[string]string{
	"http": "80/tcp", "https": "443", "web": "80/tcp 443", "ssh": "22/tcp", "dns": "53", "domain": "53", "smtp": "25/tcp",
	"submission": "587/tcp", "imap": "143/tcp", "imaps": "993/tcp", "minecraft": "25565/tcp", "wireguard": "51820/udp",
}

// Mapping reads ports as expose takes them, such as "443", "80/TCP" or "2222:22/tcp",
// and returns them as home.toml spells them.
func Mapping(typed string) (string, error) {
	return ports(typed, func(s string) error {
		_, err := forward.ParseMapping(s)
		return err
	})
}

// Ports reads ports as a policy takes them: as Mapping, without a second port.
func Ports(typed string) (string, error) {
	return ports(typed, func(s string) error {
		_, err := forward.ParsePorts(s)
		return err
	})
}

func ports(typed string, check func(string) error) (string, error) {
	text := strings.ToLower(strings.TrimSpace(typed))
	number, rest, _ := strings.Cut(text, "/")
	switch {
	case text == "":
		return "", errors.New("a port is missing: write a number, such as 443")
	case strings.Contains(text, "://") || strings.Count(number, ".") > 0 || strings.Contains(text, "["):
		return "", fmt.Errorf("%.80q is not a port: write its number alone, such as 443", typed)
	case number == "":
		return "", fmt.Errorf("%.40q lacks its port: write 443%.40s", typed, text)
	case strings.HasSuffix(text, "/"):
		return "", fmt.Errorf("%.40q lacks its protocol: write %.40s/tcp or %.40[2]s/udp", typed, number)
	case (text == "tcp" || text == "udp"):
		return "", fmt.Errorf("%s is a protocol: write it after its port, such as 443/%[1]s", text)
	case services[number] != "":
		return "", fmt.Errorf("%s is a name: write its number, %s", number, services[number])
	case number == "tcp" || number == "udp":
		return "", fmt.Errorf("%.40q has the protocol first: write %.40s/%s", typed, rest, number)
	case strings.HasPrefix(number, ":"):
		return "", fmt.Errorf("%.40q lacks the port that visitors use: write 8080%.40s for port 8080", typed, text)
	case strings.HasSuffix(number, ":"):
		return "", fmt.Errorf("%.40q lacks the port of the service here: write %.40[2]s, or %.40[2]s:80 for port 80 here", typed, strings.TrimSuffix(number, ":"))
	}
	if err := check(text); err != nil {
		return "", err
	}
	return text, nil
}

// Day is the longest unit of Duration.
const Day = 24 * time.Hour

// longest is ten years: whatever is longer was meant otherwise.
const longest = 3650 * Day

// units are those of Duration.
var units = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": Day}

// Duration reads a span of time such as "90m", "24h", "1h30m" or "7d".
func Duration(typed string) (time.Duration, error) {
	bad := fmt.Errorf("%.40q is not a time: write 90m, 24h or 7d", typed)
	rest := strings.ToLower(strings.TrimSpace(typed))
	if rest == "" {
		return 0, bad
	}
	var sum time.Duration
	for rest != "" {
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		switch {
		case end < 0:
			return 0, fmt.Errorf("%.40q has no unit: write %.40[1]sm, %.40[1]sh or %.40[1]sd", typed)
		case end == 0:
			return 0, bad
		}
		unit, known := units[rest[end:end+1]]
		n, err := strconv.ParseInt(rest[:end], 10, 64)
		if !known || err != nil || n > int64(longest/unit) {
			return 0, bad
		}
		sum, rest = sum+time.Duration(n)*unit, rest[end+1:]
	}
	if sum == 0 || sum > longest {
		return 0, bad
	}
	return sum, nil
}

// Number reads a whole number from 1 to most; what says what it counts.
func Number(typed, what string, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(typed, 10, 64)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%.40q is not a %s: write a number from 1 to %d", typed, what, most)
	}
	return n, nil
}
