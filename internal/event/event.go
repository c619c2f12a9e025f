// Package event holds what has happened, as typed values: one for each kind of
// fact. The log line is made from the value, and so is whatever else tells of
// it, so that nobody has to read one out of the other's prose.
package event

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// Fact is one thing that has happened. The concrete types of this package are
// all there are; their exported fields, which are their JSON, are what is known
// of it.
type Fact interface {
	// Line returns how the log tells of the fact.
	Line() Line
}

// Line is a fact as the log tells of it.
type Line struct {
	// Kind names the type of the fact, in JSON and for who looks for it. It
	// never changes.
	Kind  string
	Level slog.Level
	// Text is the sentence, the same for each fact of the kind.
	Text string
	// Attrs is what differs between facts of a kind.
	Attrs []slog.Attr
}

// Event is a fact with its date.
type Event struct {
	At   time.Time
	Fact Fact
}

// MarshalJSON gives the date, the kind, the sentence and the fact itself.
func (e Event) MarshalJSON() ([]byte, error) {
	line := e.Fact.Line()
	return json.Marshal(struct {
		At    time.Time `json:"at"`
		Kind  string    `json:"kind"`
		Level string    `json:"level"`
		Text  string    `json:"text"`
		Fact  Fact      `json:"fact"`
	}{e.At, line.Kind, line.Level.String(), line.Text, e.Fact})
}

// Recorder is told of facts as they happen. Record returns at once.
type Recorder interface{ Record(f Fact) }

// Log is a Recorder that writes each fact to a log, in one line.
type Log struct{ To *slog.Logger }

// Record implements Recorder.
func (l Log) Record(f Fact) {
	line := f.Line()
	l.To.LogAttrs(context.Background(), line.Level, line.Text, line.Attrs...)
}
