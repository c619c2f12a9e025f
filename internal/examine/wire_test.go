package examine

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/doctor"
)

// fill sets every field to something else than its zero.
func fill(v reflect.Value) {
	for _, known := range []any{
		netip.MustParseAddr("198.51.100.7"), netip.MustParseAddrPort("198.51.100.7:4711"),
		netip.MustParsePrefix("10.99.0.0/24"), time.Unix(1, 0),
	} {
		if reflect.TypeOf(known) == v.Type() {
			v.Set(reflect.ValueOf(known))
			return
		}
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("word")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint16, reflect.Uint64:
		v.SetUint(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
		panic("a kind of field that is not known here: " + v.Kind().String())
	}
}

// What a gate finds on itself reaches home's judge whole, but for what is none of
// a home's business and what only homes find.
func TestTheLookOfAGateReachesHome(t *testing.T) {
	var side doctor.Side
	fill(reflect.ValueOf(&side).Elem())
	arrived := FromWire(ToWire(side))
	side.Name, side.Tunnel, side.Strangers, side.Revoked = "", doctor.Tunnel{}, nil, nil
	f := &side.Forwards[0]
	f.LocalPort, f.To, f.Hidden, f.ByRouter, f.WantsIPv6, f.Listeners = 0, netip.Addr{}, false, false, false, nil
	f.LastPort, f.ServedBeyond = 0, false // home has its own
	f.OnlyOn, f.Local, f.Outside, f.Pending, f.Before = "", "", "", false, 0
	if diff := cmp.Diff(side, arrived, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	var look control.Look
	fill(reflect.ValueOf(&look).Elem())
	if !reflect.DeepEqual(look, ToWire(FromWire(look))) {
		t.Errorf("%+v loses on its way", look)
	}
}
