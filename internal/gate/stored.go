package gate

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/store"
)

// stored is what a gate remembers, as it is stored. Losing the key would
// lock all homes out, so it is stored with everything else, in one write.
type stored struct {
	PrivateKey store.PrivateKey `json:"private_key"`
	Registry   *registry.State  `json:"registry"`
	Input      *storedInput     `json:"input,omitempty"` // the policy kept last; nil: none yet
	SSHPorts   []uint16         `json:"ssh_ports,omitempty"`
}

// storedInput is an input policy as it is stored.
type storedInput plan.InputPolicy

type inputWire struct {
	Protect   bool     `json:"protect"`
	Accept    []string `json:"accept,omitempty"`
	Protocols []uint16 `json:"protocols,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (m storedInput) MarshalJSON() ([]byte, error) {
	w := inputWire{Protect: m.Protect}
	for _, p := range m.Accept {
		w.Accept = append(w.Accept, p.String())
	}
	for _, p := range m.Protocols {
		w.Protocols = append(w.Protocols, uint16(p))
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *storedInput) UnmarshalJSON(data []byte) error {
	var w inputWire
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	var accept []forward.Ports
	for _, text := range w.Accept {
		ports, err := forward.ParsePorts(text)
		if err != nil {
			return fmt.Errorf("an input policy that was kept: %w", err)
		}
		accept = append(accept, ports...)
	}
	var protocols []forward.Protocol
	for _, n := range w.Protocols {
		if n > math.MaxUint8 {
			return fmt.Errorf("an input policy that was kept: %d is not an IP protocol", n)
		}
		protocols = append(protocols, forward.Protocol(n))
	}
	*m = storedInput{Protect: w.Protect, Accept: forward.NewPortSet(accept...), Protocols: protocols}
	return nil
}

// storedName is the name of that memory in the store.
const storedName = "gate"
