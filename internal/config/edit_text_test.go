package config

// The edits from text to text, for tests of what becomes of the text.

func AddForward(data []byte, f NewForward) ([]byte, error) {
	t, err := ReadHome(HomeFile, data)
	if err != nil {
		return nil, err
	}
	after, err := t.AddForward(f)
	return textOf(after.Data, err)
}

func RemoveForward(data []byte, name string) ([]byte, error) {
	t, err := ReadHome(HomeFile, data)
	if err != nil {
		return nil, err
	}
	after, err := t.RemoveForward(name)
	return textOf(after.Data, err)
}

func SetHomePolicy(data []byte, home string, ports []string) ([]byte, error) {
	t, err := ReadGate(GateFile, data)
	if err != nil {
		return nil, err
	}
	after, err := t.SetHomePolicy(home, ports)
	return textOf(after.Data, err)
}

func textOf(data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return data, nil
}
