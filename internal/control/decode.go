package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
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
		return newerHome(v.Version)
	}
	if v.Version < 1 {
		return refuse(Malformed, "the message has no version of the control protocol")
	}
	if err := decodeStrict(body, into); err != nil {
		return malformed(err)
	}
	return nil
}

func newerHome(version int) error {
	return refuse(NewerVersion, "the home speaks version %d of the control protocol, this gate version %d; update gatelodge on the gate", version, Version)
}

func newerGate(version int) error {
	return refuse(NewerVersion, "the gate speaks version %d of the control protocol, this home version %d; update gatelodge on this machine", version, Version)
}

// checkHeader refuses a request of a newer version by its header alone.
func checkHeader(h http.Header) error {
	text := h.Get(versionHeader)
	if text == "" {
		return nil // of a home of before; its body says the version
	}
	v, err := strconv.Atoi(text)
	switch {
	case err != nil || v < 1:
		return refuse(Malformed, "%.20q is not a version of the control protocol", text)
	case v > Version:
		return newerHome(v)
	}
	return nil
}

func outOfBounds(err error) error {
	if errors.Is(err, errTooMany) || errors.Is(err, errLongToken) {
		return refuse(TooLarge, "the gate does not read the message: %v; a push has at most %d forwards: join ports into ranges", err, forward.MaxForwards)
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

// decodeAnswer reads a message from a gate. As with requests, the version comes
// first.
func decodeAnswer(text []byte, into response) error {
	if err := into.bounds().check(text); err != nil {
		return badAnswer(err.Error())
	}
	var v struct{ Version int }
	if err := json.Unmarshal(text, &v); err != nil {
		return badAnswer("it is not of this protocol")
	}
	switch {
	case v.Version > Version:
		return newerGate(v.Version)
	case v.Version < 1:
		return badAnswer("it has no version of the protocol")
	}
	if json.Unmarshal(text, into) != nil {
		return badAnswer("it is not of this protocol")
	}
	return into.check()
}
