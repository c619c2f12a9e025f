// Cast makes the picture of a terminal in which gatelodge init and gatelodge
// expose are run: really, in the lab, with the times that they took.
//
//	go run ./packaging/cast -binary bin/gatelodge
//
// It writes the transcript, and the picture that follows from it. Without
// -binary it only draws the transcript again.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

func main() {
	lab.StandIn()
	transcript := flag.String("transcript", "packaging/cast/testdata/init.transcript", "what was said, and when")
	picture := flag.String("picture", "docs/img/init.svg", "where to draw it")
	binary := flag.String("binary", "", "the gatelodge to run; none: draw the transcript again")
	flag.Parse()
	if *binary != "" {
		status, outside, err := lab.Enter()
		if outside || err != nil {
			exit(status, err)
		}
	}
	exit(0, cast(*binary, *transcript, *picture))
}

func exit(status int, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cast: error:", err)
		status = 1
	}
	os.Exit(status)
}

// cast records a run, if there is a program to run, and draws what is recorded.
func cast(binary, transcript, picture string) error {
	if binary != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		lines, err := record(ctx, binary)
		if err != nil {
			return err
		}
		if err := os.WriteFile(transcript, []byte(write(lines)), 0o644); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(transcript)
	if err != nil {
		return err
	}
	lines, err := parse(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(picture, []byte(draw(lines)), 0o644)
}
