//go:build !steps

// Package step marks the moments between two side effects, at which a test
// kills or stops the program: whatever has been done by then must be whole.
//
// In the program that is shipped At is empty and nothing can trigger it. Only
// a build with the tag steps has numbers, and the switch for them.
package step

// At marks the moment between two side effects: what was just done, or is
// about to be, and with which object.
func At(string, ...any) {}
