package doctor

// Finding is one cause, and how to fix it.
type Finding struct {
	ID       ID       `json:"id"`
	Where    Hop      `json:"where"`
	Severity Severity `json:"severity"`
	Sentence string   `json:"sentence"` // for people: what is wrong
	// Command fixes it, on the machine that On names. It is empty where no
	// command can.
	Command string `json:"command,omitempty"`
	On      string `json:"on,omitempty"`   // "here", "the gate" or "the home"
	Hint    string `json:"hint,omitempty"` // what to do where a command is not enough
}

// Severity says how bad it is.
type Severity string

// The severities.
const (
	Broken  Severity = "broken"  // visitors do not arrive
	Warning Severity = "warning" // they do, but not as they should, or not for long
)

// Hop is a place on the way of a visitor.
type Hop string

// The hops, in the order in which a visitor passes them.
const (
	AtMachine  Hop = "machine"
	AtName     Hop = "name"
	AtAddress  Hop = "address"
	AtProvider Hop = "provider firewall"
	AtGate     Hop = "gate's firewall"
	AtMap      Hop = "map"
	AtTunnel   Hop = "tunnel"
	AtHome     Hop = "home's firewall"
	AtService  Hop = "service"
	AtWayBack  Hop = "way back"
)

// ID names a cause. It does not change between versions.
type ID string

// The causes that can be told apart.
const (
	DaemonDown       ID = "daemon-down"
	NFTTooOld        ID = "nft-too-old"
	NFTMissing       ID = "nft-missing"
	DiskFull         ID = "disk-full"
	ClockWrong       ID = "clock-wrong"
	TunnelOverlap    ID = "tunnel-overlap"
	ForwardingOff    ID = "ip-forward-off"
	ReversePath      ID = "rp-filter-strict"
	RuleDeleted      ID = "rule-deleted"
	KernelLacks      ID = "kernel-lacks"
	SettingsReadOnly ID = "settings-read-only"
	ConntrackFull    ID = "conntrack-full"
	EmbeddedDevice   ID = "embedded-device"
	SSHInTunnelOnly  ID = "ssh-in-tunnel-only"
	Trouble          ID = "trouble"
	NameFails        ID = "name-fails"
	NameElsewhere    ID = "name-elsewhere"
	NoRoute          ID = "no-route"
	UDPBlocked       ID = "udp-blocked"
	WrongKey         ID = "wrong-key"
	HandshakeStale   ID = "handshake-stale"
	TwinKey          ID = "twin-key"
	GateDaemonSilent ID = "gate-daemon-silent"
	MTUBlackHole     ID = "mtu-black-hole"
	IPv6OneSide      ID = "ipv6-one-side"
	RefusedByPolicy  ID = "refused-by-policy"
	NotGrantedYet    ID = "not-granted-yet"
	PortHeld         ID = "port-held"
	OpenRelay        ID = "open-relay"
	NotListening     ID = "not-listening"
	LoopbackOnly     ID = "loopback-only"
	BoundElsewhere   ID = "bound-elsewhere"
	OneFamily        ID = "one-family"
	NoIPv4Route      ID = "no-ipv4-route"
	TargetDown       ID = "lan-target-down"
	AnswersElsewhere ID = "lan-answers-elsewhere"
	HomeDrops        ID = "home-drops"
	GateInputDrops   ID = "gate-input-drops"
	GateForwardDrops ID = "gate-forward-drops"
	SourceHidden     ID = "source-hidden"
	Untracked        ID = "untracked"
	MarkOverwritten  ID = "mark-overwritten"
	NoAnswer         ID = "no-answer"
	AddressNotServed ID = "address-not-served"
	ProviderFirewall ID = "provider-firewall"
	Hairpin          ID = "hairpin"
)
