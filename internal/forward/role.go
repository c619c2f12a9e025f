package forward

// Role is what a machine is in Gatelodge.
type Role string

// The two roles.
const (
	Gate Role = "gate"
	Home Role = "home"
)
