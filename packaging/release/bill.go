package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// bill is a bill of materials: CycloneDX 1.5.
type bill struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Serial     string      `json:"serialNumber"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Ref      string          `json:"bom-ref"`
	Type     string          `json:"type"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	URL      string          `json:"purl"`
	Hashes   []hash          `json:"hashes,omitempty"`
	Licences []licenceChoice `json:"licenses,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type licenceChoice struct {
	Licence struct {
		ID string `json:"id"`
	} `json:"license"`
}

// writeBill writes down what a binary was linked from, as the binary itself
// says it.
func (r *release) writeBill(binary string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("the bill of materials: %w", err)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	b, err := newBill(info, sha256.Sum256(content), r.version, r.date)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Base(binary) + ".cdx.json"
	r.made = append(r.made, file)
	return os.WriteFile(filepath.Join(r.out, file), append(text, '\n'), 0o644)
}

func newBill(info *debug.BuildInfo, sum [sha256.Size]byte, version string, date time.Time) (*bill, error) {
	product := newComponent("application", module, version)
	product.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
	product.Licences = make([]licenceChoice, 1)
	product.Licences[0].Licence.ID = "Apache-2.0"
	components := []component{newComponent("library", "std", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, m := range info.Deps {
		c, err := moduleComponent(m)
		if err != nil {
			return nil, err
		}
		components = append(components, c)
	}
	return &bill{
		Format:     "CycloneDX",
		Spec:       "1.5",
		Serial:     serial(sum),
		Version:    1,
		Metadata:   metadata{Timestamp: date.Format(time.RFC3339), Component: product},
		Components: components,
	}, nil
}

// moduleComponent describes a module with Go's own sum of it (h1, a SHA-256
// over the names and sums of its files).
func moduleComponent(m *debug.Module) (component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	c := newComponent("library", m.Path, m.Version)
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(sum) != sha256.Size {
		return component{}, fmt.Errorf("module %s has no sum that Go vouches for: %q", m.Path, m.Sum)
	}
	c.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum)}}
	return c, nil
}

func newComponent(kind, name, version string) component {
	purl := "pkg:golang/" + name + "@" + url.QueryEscape(version)
	return component{Ref: purl, Type: kind, Name: name, Version: version, URL: purl}
}

// serial is a UUID of the kind whose bits are one's own (version 8), made from
// the binary's sum: the same binary has the same bill.
func serial(sum [sha256.Size]byte) string {
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
