package gate

import "github.com/gatelodge/gatelodge/internal/key"

// bar keeps the keys of a home or an invite out of the device from now on.
func (m *memory) bar(name string) ([]key.Public, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys, err := m.state.Registry.KeysOf(name)
	for _, k := range keys {
		m.barred[k] = true
	}
	return keys, err
}

// admitAgain leaves it to the registry whether keys may be in the device.
func (m *memory) admitAgain(keys []key.Public) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		delete(m.barred, k)
	}
}

// admits reports whether a key may be in the device as things stand.
func (m *memory) admits(k key.Public) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.barred[k] && m.state.Registry.HasKey(k)
}
