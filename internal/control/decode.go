package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// decodeRequest reads a message from a home. The version comes first: of a
// newer message, that it is newer is all that can be said.
func decodeRequest(body []byte, into any) error {
	if err := requestBounds.check(body); err != nil {
		return outOfBounds(err)
	}
	var v struct{ Version int }
	if err := json.Unmarshal(body, &v); err != nil {
		return malformed(err)
	}
	if v.Version > Version {
		return refuse(NewerVersion, "the home speaks version %d of the control protocol, this gate version %d; update gatelodge on the gate", v.Version, Version)
	}
	if v.Version < 1 {
		return refuse(Malformed, "the message has no version of the control protocol")
	}
	if err := decodeStrict(body, into); err != nil {
		return malformed(err)
	}
	return nil
}

func outOfBounds(err error) error {
	if errors.Is(err, errTooMany) || errors.Is(err, errLongToken) {
		return refuse(TooLarge, "the gate does not read the message: %v; a push has at most %d forwards: join ports into ranges", err, MaxForwards)
	}
	return refuse(Malformed, "the gate does not read the message: %v", err)
}

// decodeStrict refuses unknown fields and anything after the value.
func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the message")
	}
	return nil
}

func malformed(err error) error {
	if _, isControl := errors.AsType[*Error](err); isControl {
		return err
	}
	hint := ""
	if strings.Contains(err.Error(), "unknown field") { // encoding/json has no type for it
		hint = "; if the home runs a newer gatelodge than the gate, update the gate"
	}
	return refuse(Malformed, "the gate cannot read the message: %s%s", plain(err.Error()), hint)
}

// decodeAnswer reads a message from a gate.
func decodeAnswer(text []byte, into response) error {
	if err := into.bounds().check(text); err != nil {
		return badAnswer(err.Error())
	}
	if json.Unmarshal(text, into) != nil {
		return badAnswer("it is not of this protocol")
	}
	return into.check()
}
