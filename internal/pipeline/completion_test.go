package pipeline

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// parkingPipeline returns a pipeline whose topics accept records up to a limit.
func parkingPipeline(limit int32) *Pipeline {
	p := newTestPipeline(Config{Topics: Topics{Parked: "parked"}}, nil)
	p.commitConf.MaxBatchBytes = map[string]int32{p.conf.Topics.Captured: limit, p.conf.Topics.Rejected: limit, p.conf.Topics.Parked: limit}
	return p
}

// parked returns a record as event e1 in the parked topic.
func (p *Pipeline) parked(t *testing.T, r *kgo.Record) *kgo.Record {
	t.Helper()
	it := &item{polledRecord: polledRecord{record: r}}
	return p.parkedRecord(t.Context(), it, "e1", &event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: "why"})
}

func headersOf(s *kgo.Record) map[string]string {
	out := make(map[string]string)
	for _, h := range s.Headers {
		out[h.Key] = string(h.Value)
	}
	return out
}

func TestParkedRecordIsUnchanged(t *testing.T) {
	t.Parallel()
	r := &kgo.Record{
		Topic: "orders", Partition: 3, Offset: 77, Key: []byte("k"), Value: []byte(`{"x":1}`),
		Headers: []kgo.RecordHeader{{Key: "ce_type", Value: []byte("t")}, {Key: "empty"}},
	}
	s := parkingPipeline(1<<20).parked(t, r)
	if s.Topic != "parked" || string(s.Key) != "k" || string(s.Value) != `{"x":1}` {
		t.Errorf("got %+v", s)
	}
	if len(s.Headers) < 2 || s.Headers[0].Key != "ce_type" || s.Headers[1].Value != nil {
		t.Errorf("the original headers do not come first, unchanged: %v", s.Headers)
	}
	h := headersOf(s)
	for key, want := range map[string]string{
		"parked_reason": string(event.ParkInvalidEvent), "parked_detail": "why", "parked_topic": "orders",
		"parked_partition": "3", "parked_offset": "77", "parked_event_id": "e1",
	} {
		if h[key] != want {
			t.Errorf("%s = %q, want %q", key, h[key], want)
		}
	}
	if _, ok := h["parked_value_sha256"]; ok {
		t.Error("a record that fits is replaced by its digest")
	}
	s = parkingPipeline(1<<20).parked(t, &kgo.Record{Key: []byte{}, Value: nil})
	if s.Value != nil || s.Key == nil {
		t.Errorf("key %#v and value %#v changed; want empty and null", s.Key, s.Value)
	}
}

// TestParkedRecordNamesTheOrder: the headers and the log have the order and the claimed
// event, of invalid and of valid events, and never the payer token.
func TestParkedRecordNamesTheOrder(t *testing.T) {
	t.Parallel()
	const token = "planted-payer-token"
	value := func(id, order, amount string) []byte {
		return []byte(`{"specversion":"1.0","id":"` + id + `","source":"/s","type":"order.ready_to_capture",` +
			`"time":"2026-11-23T10:00:00Z","data":{"order_id":"` + order + `","amount":"` + amount +
			`","currency":"MXN","description":"d","external_reference":"r","payer":{"token":"` + token + `"}}}`)
	}
	for name, tc := range map[string]struct {
		value             []byte
		as                string // its id in the ledger; "": its own
		order, claimed    string
		absent, absentToo bool
	}{
		"invalid":                {value: value("e1", "o1", "x"), order: "o1", claimed: "e1"},
		"valid":                  {value: value("e1", "o1", "1"), order: "o1", absentToo: true},
		"of another event's id":  {value: value("e1", "o1", "1"), as: "sha256:0", order: "o1", claimed: "e1"},
		"no JSON":                {value: []byte("o1"), absent: true, absentToo: true},
		"invalid, the token":     {value: value("e1", token, "x"), absent: true, claimed: "e1"},
		"invalid, the token too": {value: value(token, "o1", "x"), order: "o1", absentToo: true},
		"valid, the token":       {value: value("e1", "order "+token, "1"), absent: true, absentToo: true},
	} {
		var log bytes.Buffer
		p := parkingPipeline(1 << 20)
		p.conf.Log = slog.New(slog.NewJSONHandler(&log, nil))
		r := &kgo.Record{Topic: "orders", Value: tc.value}
		it := &item{polledRecord: p.decodeRecord(r)}
		h := headersOf(p.parkedRecord(t.Context(), it, cmp.Or(tc.as, it.id), &event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: "why"}))
		order, named := h["parked_order_id"]
		claimed, namedToo := h["parked_claimed_event_id"]
		if order != tc.order || claimed != tc.claimed || named == tc.absent || namedToo == tc.absentToo {
			t.Errorf("%s: order %q, event %q; want %q, %q", name, order, claimed, tc.order, tc.claimed)
		}
		var line struct {
			Order   string `json:"order_id"`
			Claimed string `json:"claimed_event_id"`
		}
		if err := json.Unmarshal(log.Bytes(), &line); err != nil || line.Order != tc.order || line.Claimed != tc.claimed {
			t.Errorf("%s: logged %s, %v", name, log.String(), err)
		}
		if bytes.Contains(log.Bytes(), []byte(token)) {
			t.Errorf("%s: the log shows the payer token: %s", name, log.String())
		}
	}
}

func TestOversizeRecordIsParkedByDigest(t *testing.T) {
	t.Parallel()
	const limit = 10_000
	value := bytes.Repeat([]byte("v"), 9_000)
	sum := sha256.Sum256(value)
	long := strings.Repeat("h", 9_000)
	tests := map[string]*kgo.Record{
		"value":   {Topic: "orders", Value: value},
		"key":     {Topic: "orders", Key: []byte(long), Value: value[:1]},
		"headers": {Topic: "orders", Value: value[:1], Headers: []kgo.RecordHeader{{Key: long, Value: []byte(long)}}},
	}
	for name, r := range tests {
		s := parkingPipeline(limit).parked(t, r)
		if s.Value != nil || s.Key != nil {
			t.Errorf("%s: key of %d and value of %d bytes are kept", name, len(s.Key), len(s.Value))
		}
		h := headersOf(s)
		if name == "value" && (h["parked_value_bytes"] != "9000" || h["parked_value_sha256"] != hex.EncodeToString(sum[:])) {
			t.Errorf("headers %v", h)
		}
		if h["parked_reason"] == "" || h["parked_offset"] != "0" {
			t.Errorf("%s: headers %v", name, h)
		}
		if size := sizeOf(s); size > limit {
			t.Errorf("%s: %d bytes", name, size)
		}
	}
}

// TestParkedRecordAtTheLimit: at every size at which the content is kept, the topic
// accepts the record.
func TestParkedRecordAtTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 20_000
	kept, digested := 0, 0
	for size := 15_000; size < limit+100; size += 7 {
		r := &kgo.Record{Topic: "orders", Key: []byte("key"), Value: make([]byte, size)}
		s := parkingPipeline(limit).parked(t, r)
		if s.Value != nil {
			kept++
		} else {
			digested++
		}
		if got := sizeOf(s); got > limit {
			t.Fatalf("a value of %d bytes is parked with %d", size, got)
		}
	}
	if kept == 0 || digested == 0 {
		t.Errorf("%d kept, %d digested", kept, digested)
	}
}

// sizeOf returns the size of a record in a batch of its own, and a little more.
func sizeOf(s *kgo.Record) int {
	n := 61 + 30 + len(s.Key) + len(s.Value)
	for _, h := range s.Headers {
		n += 10 + len(h.Key) + len(h.Value)
	}
	return n
}

// TestHostileRecordsFitIntoTheParkedTopic: a flush cannot fail because of the size of a
// parked record, whatever its content.
func TestHostileRecordsFitIntoTheParkedTopic(t *testing.T) {
	t.Parallel()
	const limit = 30_000
	p := parkingPipeline(limit)
	long := strings.Repeat("é\"\x01", 6_000)
	eventType := event.TypeReadyToCapture
	for name, r := range map[string]*kgo.Record{
		"header values": {Headers: []kgo.RecordHeader{{Key: "ce_specversion", Value: []byte(long)}, {Key: "ce_type", Value: []byte(eventType)}}},
		"an id":         {Value: []byte(`{"specversion":"1.0","type":"` + eventType + `","id":"` + strings.Repeat("i", 24_000) + `"}`)},
		"a field name": {Value: []byte(`{"specversion":"1.0","type":"` + eventType + `","id":"i","` + strings.Repeat("n", 24_000) +
			`":1,"data":{"` + strings.Repeat("n", 20) + `":2}}`)},
		"no JSON": {Value: bytes.Repeat([]byte{0xff}, 24_000)},
	} {
		got := p.decodeRecord(r)
		if got.invalid == nil {
			t.Logf("%s: not invalid", name)
			continue
		}
		info := &event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: got.invalid.Error()}
		parked := p.parkedRecord(t.Context(), &item{polledRecord: got}, got.id, info)
		if size := sizeOf(parked); size > limit {
			t.Errorf("%s: parked with %d bytes, the limit is %d", name, size, limit)
		}
	}
}

// TestOutcomeOfAHugeKey: nor because of an outcome, which has the key of its input,
// while the input topic may accept larger records.
func TestOutcomeOfAHugeKey(t *testing.T) {
	t.Parallel()
	const limit = 30_000
	p := parkingPipeline(limit)
	r := &kgo.Record{Topic: "orders", Key: bytes.Repeat([]byte("k"), limit)}
	s, err := p.outcomeRecord(t.Context(), r, &event.Outcome{Type: event.TypeCaptured, EventID: "e", OrderID: "o"})
	if err != nil {
		t.Fatal(err)
	}
	if size := sizeOf(s); size > limit {
		t.Errorf("an outcome of %d bytes, the topics accept %d", size, limit)
	}
}
