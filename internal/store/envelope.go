package store

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// formatVersion is the version of the files. It changes when an older
// program would misunderstand a newer file; values that grow fields need not
// change it, because Load refuses fields it does not know.
const formatVersion = 1

// envelope is the content of a file. The checksum covers the version as well:
// a damaged version is damage, and no sign of a newer program.
type envelope struct {
	Version int             `json:"gatelodge"`
	SHA256  string          `json:"sha256"`
	Body    json.RawMessage `json:"body"`
}

// checksum is over the compact form, so that nothing depends on indentation.
// How it is made must never change, not even with the version.
func checksum(version int, compact []byte) string {
	sum := sha256.Sum256(append(strconv.AppendInt(nil, int64(version), 10), append([]byte{'\n'}, compact...)...))
	return hex.EncodeToString(sum[:])
}

func seal(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(body) > maxFile/2 { // what is written is indented, and so larger
		return nil, errTooLarge
	}
	content, err := json.MarshalIndent(envelope{formatVersion, checksum(formatVersion, body), body}, "", "  ")
	if err != nil {
		return nil, err
	}
	if content = append(content, '\n'); len(content) > maxFile {
		return nil, errTooLarge
	}
	return content, nil
}

// errDamaged is what open returns for content that was not written like this.
var errDamaged = errors.New("damaged")

// errNewer is what open returns for content of a newer program.
var errNewer = errors.New("written by a newer version of gatelodge; install that version, or a newer one")

// open verifies a file's content and returns the value's JSON.
func open(content []byte) (json.RawMessage, error) {
	var e envelope
	if err := json.Unmarshal(content, &e); err != nil {
		return nil, fmt.Errorf("%w: not the JSON it was", errDamaged)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, e.Body); err != nil {
		return nil, fmt.Errorf("%w: it holds no value", errDamaged)
	}
	want := checksum(e.Version, compact.Bytes())
	if subtle.ConstantTimeCompare([]byte(want), []byte(e.SHA256)) != 1 {
		return nil, fmt.Errorf("%w: its checksum does not match", errDamaged)
	}
	if e.Version > formatVersion {
		return nil, errNewer
	}
	if e.Version != formatVersion {
		return nil, fmt.Errorf("%w: it has version %d", errDamaged, e.Version)
	}
	return compact.Bytes(), nil
}

// decode fills into from a verified body. The body is whole, so what does not
// fit was written by a program that knows more than this one: to go on, and
// to drop that on the next Save, would lose it.
func decode(body json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w (%w)", errNewer, err)
	}
	return nil
}
