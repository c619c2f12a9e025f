package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// memory returns a line of /proc/PID/status of both ends, in MiB.
func (s *stand) memory(line string) (gate, home float64, err error) {
	if gate, err = memoryOf(s.gate, line); err != nil {
		return 0, 0, err
	}
	home, err = memoryOf(s.home, line)
	return gate, home, err
}

func memoryOf(pid int, line string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), line+":")
	if !found {
		return 0, fmt.Errorf("process %d has no %s", pid, line)
	}
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	return kib / 1024, err
}

// ticks is how many a second /proc/PID/stat counts, on every architecture that
// Go knows.
const ticks = 100

// processorTime returns the seconds that both ends have computed so far.
func (s *stand) processorTime() (float64, error) {
	var sum float64
	for _, pid := range []int{s.gate, s.home} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The name in brackets may hold blanks; user and system time are the
		// fields 14 and 15 of the line.
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		for _, field := range fields[11:13] {
			n, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return 0, err
			}
			sum += n / ticks
		}
	}
	return sum, nil
}
