//go:build synctests || integration

package acceptance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
	"payment-capture/internal/simulator"
)

// possibleOrderScenarios are about records that may be orders but are not valid.
func possibleOrderScenarios() []scenario {
	return []scenario{
		{"a record that may be an order is never skipped", 1, simulator.Config{}, possibleOrders},
		{"null headers and the order of headers change nothing", 1, simulator.Config{}, nullHeaders},
		{"an event without a time of its own is parked if one is required", 1, simulator.Config{}, timeRequired},
	}
}

// headed sets headers of a record in binary mode; an empty value removes one.
func headed(r *kgo.Record, pairs ...string) *kgo.Record {
	for i := 0; i < len(pairs); i += 2 {
		r.Headers = slices.DeleteFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == pairs[i] })
		if pairs[i+1] != "" {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
	}
	return r
}

// possibleOrders sends orders as other systems have changed them. Each is parked with
// its cause and the order that it names. Records that are certainly of another type are
// not parked.
func possibleOrders(w *world) {
	type sent struct {
		record            *kgo.Record
		detail, order, id string
	}
	var all []sent
	add := func(detail, id string, r *kgo.Record) {
		o := w.sent[len(w.sent)-1].order
		all = append(all, sent{record: r, detail: detail, order: o, id: id})
		if id == "" {
			w.sent[len(w.sent)-1].id = "" // the id cannot be read from the record
		}
	}
	n := 0
	next := func(binary bool) *kgo.Record {
		n++
		return w.record(order{id: fmt.Sprintf("m%d", n), binary: binary})
	}
	bridge := []string{"ce_specversion", "1.0", "ce_id", "b1", "ce_source", "/bridge", "ce_type", "com.bridge.forwarded"}
	for text, detail := range map[string]string{
		`"order.ready_to_capture"`: "ce_type is in quotes", `'order.ready_to_capture'`: "ce_type is in quotes",
		`\"order.ready_to_capture\"`: "ce_type is in quotes", `[order.ready_to_capture]`: "ce_type has more in it",
		`b'order.ready_to_capture'`: "ce_type has more in it", "b3JkZXIucmVhZHlfdG9fY2FwdHVyZQ==": "ce_type is base64",
		`"b3JkZXIucmVhZHlfdG9fY2FwdHVyZQ=="`:              "ce_type is base64",
		"\xac\xed\x00\x05t\x00\x16order.ready_to_capture": "ce_type is a serialised Java object",
		"\x2corder.ready_to_capture":                      "ce_type has more in it", "\x76order.ready_to_capture": "ce_type is CBOR",
		`{"schema":{"type":"string","optional":false},"payload":"order.ready_to_capture"}`: "ce_type is in a {schema,payload} envelope",
	} {
		r := headed(next(true), "ce_type", text)
		add(detail, fmt.Sprintf("m%d", n), r)
		quoted := next(false) // the whole event, with quotes that a header mapper has added
		id := fmt.Sprintf("m%d", n)
		add(detail, fmt.Sprintf("%q", id), headed(quoted, "ce_specversion", `"1.0"`, "ce_id", fmt.Sprintf("%q", id), "ce_type", text,
			"content-type", "application/json"))
	}
	add("ce_type is another type, but the value is a whole event", "b1",
		headed(next(false), append(bridge, "content-type", "application/json")...))
	add("type is missing: the headers have the HTTP prefix ce-", "m",
		headed(next(true), "ce_type", "", "ce_id", "", "ce_source", "", "ce_specversion", "",
			"ce_time", "", "ce-type", "order.ready_to_capture", "ce-id", "m"))
	w.sent[len(w.sent)-1].id = "" // because only the service reads ce-id
	bare := next(true)
	bare.Headers, bare.Value = nil, []byte(strings.Replace(string(bare.Value), "{", `{"type":"ORDER",`, 1))
	add("specversion is missing: the value looks like an event's data alone; were its headers lost?", "", bare)
	add("ce_time is not the time in the value", fmt.Sprintf("m%d", n+1),
		headed(next(false), "ce_time", "2020-01-01T00:00:00Z", "content-type", "application/cloudevents+json"))

	var records []*kgo.Record
	for i, s := range all {
		records = append(records, s.record, w.record(order{id: fmt.Sprintf("good-%d", i), binary: i%2 == 0}))
	}
	other := w.record(order{id: "other", kind: "order.ready_to_capture.v2", binary: true, skipped: true})
	records = append(records, other, w.record(order{id: "other-2", kind: "com.acme.order.ready_to_capture", skipped: true}))
	w.produce(records...)
	w.start("a")
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"captured": len(all), "parked invalid_event": len(all)})
	for _, s := range all {
		i := slices.IndexFunc(vs, func(v decision) bool {
			return v.kind == "parked" && lastHeader(v.record, "parked_offset") == fmt.Sprint(s.record.Offset)
		})
		if i < 0 {
			w.t.Errorf("%s: not parked", s.detail)
			continue
		}
		r := vs[i].record
		detail, orderID, id := lastHeader(r, "parked_detail"), lastHeader(r, "parked_order_id"), lastHeader(r, "parked_claimed_event_id")
		if !strings.HasPrefix(detail, s.detail) || orderID != s.order || id != s.id {
			w.t.Errorf("%s: parked with %q, order %q, event %q; want order %q, event %q", s.detail, detail, orderID, id, s.order, s.id)
		}
		w.wantParkedLog(s.record.Offset, map[string]any{"order_id": s.order, "claimed_event_id": s.id, "detail": detail})
	}
}

// wantParkedLog checks the log line about a parked record.
func (w *world) wantParkedLog(offset int64, want map[string]any) {
	w.t.Helper()
	for line := range strings.Lines(w.log.String()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil || entry["msg"] != "record parked" || entry["offset"] != float64(offset) {
			continue
		}
		for key, value := range want {
			if entry[key] != value {
				w.t.Errorf("the log has %s=%q for offset %d, want %q", key, entry[key], offset, value)
			}
		}
		return
	}
	w.t.Errorf("the log has no line for offset %d", offset)
}

// nullHeaders sends valid events with null headers, before and after the others and in
// both modes.
func nullHeaders(w *world) {
	w.start("a")
	var records []*kgo.Record
	for i, key := range []string{"content-type", "ce_type", "ce_id", "ce_time", "ce_x"} {
		for j, value := range [][]byte{nil, {}} {
			for k := range 4 {
				r := w.record(order{id: fmt.Sprintf("n%d-%d-%d", i, j, k), binary: k%2 == 0})
				at := 0
				if k >= 2 {
					at = len(r.Headers)
				}
				r.Headers = slices.Insert(r.Headers, at, kgo.RecordHeader{Key: key, Value: value})
				records = append(records, r)
			}
		}
	}
	twice := w.record(order{id: "twice", binary: true})
	twice.Headers = append(twice.Headers, twice.Headers...)
	w.produce(append(records, twice)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": len(records) + 1})
}

// timeRequired sends events with and without a time attribute.
func timeRequired(w *world) {
	in := w.start("a", func(c *config.Config) { c.EventTimeRequired = true })
	timeless := func(id string) *kgo.Record { return headed(w.record(order{id: id, binary: true}), "ce_time", "") }
	w.produce(timeless("t1"), w.record(order{id: "t2", binary: true}))
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"captured": 1, "parked invalid_event": 1})
	for _, v := range vs {
		if v.kind == "parked" && (!strings.Contains(lastHeader(v.record, "parked_detail"), "EVENT_TIME_REQUIRED") ||
			lastHeader(v.record, "parked_order_id") != "order-t1") {
			w.t.Errorf("parked with %q", v.record.Headers)
		}
	}
	in.stop()
	w.start("b")
	w.produce(timeless("t3"))
	w.want(w.awaitDecisions(), map[string]int{"captured": 2, "parked invalid_event": 1})
}
