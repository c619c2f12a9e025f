package event

import (
	"log/slog"
	"time"
)

// Started says that a daemon begins its work.
type Started struct {
	Role    string `json:"role"`
	Version string `json:"version"`
}

// Line implements Fact.
func (f Started) Line() Line {
	return Line{"daemon.started", slog.LevelInfo, "starting", []slog.Attr{slog.String("role", f.Role), slog.String("version", f.Version)}}
}

// Ready says that all that a daemon needs for its work stands.
type Ready struct{}

// Line implements Fact.
func (Ready) Line() Line { return Line{Kind: "daemon.ready", Level: slog.LevelInfo, Text: "ready"} }

// Stopped says that a daemon was told to stop.
type Stopped struct{}

// Line implements Fact.
func (Stopped) Line() Line {
	return Line{Kind: "daemon.stopped", Level: slog.LevelInfo, Text: "stopped; what was set up stays until: gatelodge down"}
}

// Stuck says that a task's round takes longer than it ever should.
type Stuck struct {
	Task  string        `json:"task"`
	Since time.Duration `json:"since_ns"`
}

// Line implements Fact.
func (f Stuck) Line() Line {
	return Line{"daemon.stuck", slog.LevelError, "stuck; waiting for the watchdog", []slog.Attr{slog.String("task", f.Task), slog.Duration("since", f.Since)}}
}

// StateDamaged says that a copy of what the program remembers was of no use.
type StateDamaged struct {
	Warning string `json:"warning"`
}

// Line implements Fact.
func (f StateDamaged) Line() Line {
	return Line{"state.damaged", slog.LevelError, "state", []slog.Attr{slog.String("warning", f.Warning)}}
}

// ConfigRefused says that a configuration file is wrong, and the last good one
// stays in force.
type ConfigRefused struct {
	Why string `json:"why"`
}

// Line implements Fact.
func (f ConfigRefused) Line() Line {
	return Line{"config.refused", slog.LevelError, "the configuration in force stays", []slog.Attr{slog.String("error", f.Why)}}
}

// Changed says that the machine was changed, or what is published on it.
type Changed struct {
	What string `json:"what"`
}

// Line implements Fact.
func (f Changed) Line() Line {
	return Line{"machine.changed", slog.LevelInfo, "changed", []slog.Attr{slog.String("what", f.What)}}
}

// FirewallInTheWay says that another firewall of the machine keeps packets of
// ours from passing.
type FirewallInTheWay struct {
	Problem string `json:"problem"`
}

// Line implements Fact.
func (f FirewallInTheWay) Line() Line {
	return Line{"firewall.in_the_way", slog.LevelWarn, "another firewall is in the way", []slog.Attr{slog.String("problem", f.Problem)}}
}

// FirewallsClear says that none is in the way any longer.
type FirewallsClear struct{}

// Line implements Fact.
func (FirewallsClear) Line() Line {
	return Line{Kind: "firewall.clear", Level: slog.LevelInfo, Text: "no other firewall is in the way any longer"}
}

// RemedyRenewed says that another firewall had forgotten what its owner has
// agreed to let through for us, and lets it through again.
type RemedyRenewed struct {
	Remedy string `json:"remedy"`
}

// Line implements Fact.
func (f RemedyRenewed) Line() Line {
	return Line{"firewall.remedy_renewed", slog.LevelInfo, "another firewall had forgotten what it lets through; it lets it through again", []slog.Attr{slog.String("remedy", f.Remedy)}}
}

// TaskFailed says that a task of the daemon's could not do its work. It keeps trying.
type TaskFailed struct {
	Task string `json:"task"`
	Why  string `json:"why"`
}

// Line implements Fact.
func (f TaskFailed) Line() Line {
	return Line{"task.failed", slog.LevelError, "failed, trying again", []slog.Attr{slog.String("task", f.Task), slog.String("error", f.Why)}}
}

// TaskRecovered says that a task does its work again.
type TaskRecovered struct {
	Task string `json:"task"`
}

// Line implements Fact.
func (f TaskRecovered) Line() Line {
	return Line{"task.recovered", slog.LevelInfo, "works again", []slog.Attr{slog.String("task", f.Task)}}
}

// TaskEnded says that a task has ended that never should, and the daemon with it.
type TaskEnded struct {
	Task string `json:"task"`
	Why  string `json:"why"`
}

// Line implements Fact.
func (f TaskEnded) Line() Line {
	return Line{"task.ended", slog.LevelError, "a task ended", []slog.Attr{slog.String("task", f.Task), slog.String("error", f.Why)}}
}

// StartFailed says that a daemon cannot start, and that the service manager tries
// again.
type StartFailed struct {
	Why     string        `json:"why"`
	AgainIn time.Duration `json:"again_in_ns"`
}

// Line implements Fact.
func (f StartFailed) Line() Line {
	return Line{"daemon.start_failed", slog.LevelError, "cannot start", []slog.Attr{slog.String("error", f.Why), slog.Duration("again_in", f.AgainIn)}}
}

// LeftOut says that nobody was told of some facts, because too many came from one
// source.
type LeftOut struct {
	Facts int `json:"facts"`
}

// Line implements Fact.
func (f LeftOut) Line() Line {
	return Line{"log.left_out", slog.LevelWarn, "more happened than is written here", []slog.Attr{slog.Int("lines_left_out", f.Facts)}}
}
