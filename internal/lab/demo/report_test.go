package demo

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files again")

func TestReportText(t *testing.T) {
	visitor4, gate4 := netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("198.51.100.1")
	visitor6, gate6 := netip.MustParseAddr("2001:db8:c::10"), netip.MustParseAddr("2001:db8:a::1")
	home := netip.MustParseAddr("192.168.1.10")
	good := Report{
		FirstAnswer: 1234 * time.Millisecond,
		Devices:     []Device{{"gate", "embedded"}, {"home", "kernel"}},
		Results: []Result{
			{Title: "web, HTTPS with home's own certificate", Visitor: visitor4, Gate: gate4, Port: 443, Protocol: "tcp", Host: "home", Saw: visitor4, Want: visitor4, OK: true, Duration: 1900 * time.Microsecond},
			{Title: "web, HTTPS with home's own certificate", Visitor: visitor6, Gate: gate6, Port: 443, Protocol: "tcp", Host: "home", Saw: visitor6, Want: visitor6, OK: true, Duration: 12 * time.Millisecond},
			{Title: "device of the LAN", Visitor: visitor4, Gate: gate4, Port: 7002, Protocol: "udp", Host: "device", Saw: home, Want: home, OK: true, Duration: 950 * time.Microsecond, Detail: "home's own, masquerade"},
			{Title: "closed port", Visitor: visitor4, Gate: gate4, Port: 7999, Protocol: "tcp", OK: true, Duration: time.Second, Detail: "counted by the gate"},
			{Title: "port outside the policy", Asker: "home", Gate: gate4, Port: 6000, Protocol: "tcp", OK: true, Duration: 20 * time.Millisecond, Detail: "the gate refuses extra: the policy of the gate gives this home 80, 443"},
		},
	}
	bad := Report{
		Devices: good.Devices,
		Results: []Result{
			{Title: "TCP service", Visitor: visitor4, Gate: gate4, Port: 7000, Protocol: "tcp", Host: "home", Saw: gate4, Want: visitor4, Duration: time.Millisecond},
			{Title: "TCP service", Visitor: visitor6, Gate: gate6, Port: 7000, Protocol: "tcp", Host: "home", Want: visitor6, Duration: 3 * time.Second, Detail: "i/o timeout"},
			{Title: "closed port", Visitor: visitor4, Gate: gate4, Port: 7999, Protocol: "tcp", Duration: time.Millisecond, Detail: "connection refused"},
			{Title: "port outside the policy", Asker: "home", Gate: gate4, Port: 6000, Protocol: "tcp", Duration: time.Second, Detail: "the gate grants 6000/tcp"},
		},
		Logs: []Log{{"gate", "/run/lab-1/gate/log", []string{"started", "stopped"}}, {"home", "/run/lab-1/home/log", nil}},
	}
	for name, r := range map[string]Report{"good": good, "bad": bad} {
		var b bytes.Buffer
		if err := r.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, "report-"+name+".golden", b.Bytes())
	}
	if !good.OK() || bad.OK() || bad.Failed() != 4 || (Report{}).OK() {
		t.Error("OK does not count what failed")
	}
}

func TestReportJSON(t *testing.T) {
	want := Report{FirstAnswer: time.Second, Results: []Result{
		{Title: "web", Visitor: netip.MustParseAddr("2001:db8::1"), Gate: netip.MustParseAddr("2001:db8::2"), Port: 80, Protocol: "tcp", OK: true, Duration: 5},
		{Title: "refused", Asker: "home", Gate: netip.MustParseAddr("192.0.2.1"), Port: 80, Protocol: "tcp"},
	}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back as %+v, want %+v", got, want)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}
