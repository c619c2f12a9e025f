package wireguard_test

import "testing"

// Home dials the gate's second address, which the gate's kernel would not answer
// from: home would take the first one for where the gate is now.
func TestTheGatesSecondAddress(t *testing.T) {
	for _, address := range []string{"198.51.100.7", "2001:db8:a::7"} {
		t.Run(address, func(t *testing.T) {
			w := newWorld(t)
			ip(t, w.gate.ns, `
				addr add 198.51.100.7/24 dev eth0
				addr add 2001:db8:a::7/64 dev eth0 nodad preferred_lft 0`)
			w.home.want.Peers[0].Endpoint = endpointAt(address)
			w.up(t)
			w.transfer(t)
			seen, err := w.home.device.Observe(t.Context())
			if err != nil || seen.Peers[0].Endpoint != endpointAt(address) {
				t.Errorf("home hears the gate at %v: %v", seen.Peers, err)
			}
		})
	}
}
