//go:build synctests || integration

package acceptance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/event/hostile"
)

// hostileRecord is a record that must be parked.
type hostileRecord struct {
	hostile.Record
	reason event.ParkReason
	sent   *kgo.Record
}

// hostileCorpus returns all records that must be parked: those that are not events, one
// of ten megabytes, and events that must not be charged.
func hostileCorpus() []*hostileRecord {
	now := time.Now()
	var all []*hostileRecord
	add := func(reason event.ParkReason, records ...hostile.Record) {
		for _, r := range records {
			all = append(all, &hostileRecord{Record: r, reason: reason})
		}
	}
	add(event.ParkInvalidEvent, hostile.Records(now, payerToken)...)
	add(event.ParkInvalidEvent, hostile.Large(now, payerToken, 3<<19)...)
	add(event.ParkInvalidEvent, hostile.TooLong(now, payerToken, 10<<20))
	ids := 0
	const text = `{"specversion":"1.0","id":%q,"source":"/orders","type":"order.ready_to_capture","time":%q,"data":{"order_id":"order-1001",` +
		`"amount":"700.50","currency":%q,"description":"Order 1001","payer":{"token":"` + payerToken + `"}}}`
	sound := func(name, at, currency, problem string) hostile.Record {
		ids++ // each decodable event has its own id
		return hostile.Record{Name: name, Problem: problem, Message: event.Message{Value: fmt.Appendf(nil, text,
			fmt.Sprintf("sound-%d", ids), at, currency)}}
	}
	at := now.UTC().Format(time.RFC3339)
	add(event.ParkWrongCurrency, sound("another currency", at, "BRL", "data.currency is BRL, and this account charges in MXN"))
	add(event.ParkTooOld, sound("the first second", "1970-01-01T00:00:00Z", "MXN",
		"time is 1970-01-01T00:00:00Z, more than CAPTURE_MAX_EVENT_AGE ("))
	ahead := ", still to come: more than 2562047h0m0s ahead of the service's clock (" + now.UTC().Format("2006-")
	add(event.ParkTimeInFuture, sound("the last year", "9999-12-31T23:59:59Z", "MXN", "time is 9999-12-31T23:59:59Z"+ahead))
	add(event.ParkTimeInFuture, sound("after the last year", "9999-12-31T23:59:59-23:59", "MXN", "time is 10000-01-01T23:58:59Z"+ahead))
	return all
}

// hostileInput puts every hostile record between two good ones in one partition. Each is
// parked unchanged with its problem, none reaches the API, and the good ones are
// captured.
func hostileInput(w *world) {
	corpus, odd := hostileCorpus(), hostile.Odd(time.Now(), payerToken)
	var records []*kgo.Record
	send := func(id string, m event.Message) *kgo.Record {
		r := &kgo.Record{Topic: w.topics.input, Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		records = append(records, r)
		w.sent = append(w.sent, sentEvent{id: id})
		return r
	}
	good := 0
	for _, h := range corpus {
		records = append(records, w.record(order{id: fmt.Sprintf("good-%d", good)}))
		good++
		h.sent = send("", h.Message)
	}
	for _, o := range odd {
		send(o.ID, o.Message)
		good++
	}
	records = append(records, w.record(order{id: "last"}))
	good++
	w.sendLarge(records)
	w.start("a")

	decisions := w.awaitDecisions()
	want := map[string]int{"captured": good}
	for _, h := range corpus {
		want["parked "+string(h.reason)]++
	}
	w.want(decisions, want)
	w.checkParkedCorpus(decisions, corpus)
	charges := w.sim.Charges()
	if charges.Calls != good || len(charges.CallsByKey) != good || charges.CallsByKey["evt-1"] != 0 {
		w.t.Errorf("%d API calls under %d keys, want one for each of %d good events", charges.Calls, len(charges.CallsByKey), good)
	}
	for _, o := range odd {
		if charges.CallsByKey[o.ID] != 1 {
			w.t.Errorf("%s: %d API calls, want 1", o.Name, charges.CallsByKey[o.ID])
		}
	}
	w.checkLogLines()
}

// sendLarge produces uncompressed records of up to 16 MB. It raises the size limit of
// the input topic but not of the other topics. A broker applies the limit some time after
// the controller has accepted it, so a record that is refused until then is sent again.
func (w *world) sendLarge(records []*kgo.Record) {
	w.t.Helper()
	const limit = 16 << 20
	resp, err := w.admin.AlterTopicConfigs(w.t.Context(),
		[]kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: new(strconv.Itoa(limit))}}, w.topics.input)
	if err == nil {
		_, err = resp.On(w.topics.input, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		w.t.Fatal(err)
	}
	producer := w.newClient(kgo.ProducerBatchMaxBytes(limit), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for _, r := range records {
		w.eventually("the broker applies the size limit", func() bool {
			err := producer.ProduceSync(w.t.Context(), r).FirstErr()
			if err != nil && !errors.Is(err, kerr.MessageTooLarge) {
				w.t.Fatal(err)
			}
			return err == nil
		})
	}
}

// checkParkedCorpus compares each parked record with the one that was sent.
func (w *world) checkParkedCorpus(decisions []decision, corpus []*hostileRecord) {
	w.t.Helper()
	byOffset := make(map[string]*kgo.Record)
	for _, v := range decisions {
		if v.kind == "parked" {
			byOffset[lastHeader(v.record, "parked_offset")] = v.record
		}
	}
	digests := 0
	for _, h := range corpus {
		parked := byOffset[strconv.FormatInt(h.sent.Offset, 10)]
		if parked == nil {
			w.t.Errorf("%s: no parked record for its offset", h.Name)
			continue
		}
		reason, detail := lastHeader(parked, "parked_reason"), lastHeader(parked, "parked_detail")
		if reason != string(h.reason) || !strings.HasPrefix(detail, h.Field) || !strings.Contains(detail, h.Problem) {
			w.t.Errorf("%s: parked as %s, %q; want %s of field %q with %q", h.Name, reason, detail, h.reason, h.Field, h.Problem)
		}
		if at := lastHeader(parked, "parked_topic") + "/" + lastHeader(parked, "parked_partition"); at != w.topics.input+"/0" {
			w.t.Errorf("%s: parked with the offset %s", h.Name, at)
		}
		own := parked.Headers
		if lastHeader(parked, "parked_value_sha256") != "" {
			digests++
			if err := checkDigest(parked, h.sent); err != nil {
				w.t.Errorf("%s: %v", h.Name, err)
			}
		} else {
			if err := checkKept(parked, h.sent); err != nil {
				w.t.Errorf("%s: %v", h.Name, err)
			}
			own = parked.Headers[min(len(h.sent.Headers), len(parked.Headers)):]
		}
		for _, header := range own {
			if bytes.Contains(header.Value, []byte(payerToken)) || bytes.ContainsFunc(header.Value, notPrintable) {
				w.t.Errorf("%s: header %s contains a secret or a control character: %q", h.Name, header.Key, header.Value)
			}
		}
	}
	if digests < 10 || digests > len(corpus)/2 {
		w.t.Errorf("%d of %d records are parked without their values", digests, len(corpus))
	}
}

// checkKept checks that a parked record has the original key, value and headers, in
// front of the headers of the service.
func checkKept(parked, sent *kgo.Record) error {
	if !bytes.Equal(parked.Key, sent.Key) || (parked.Key == nil) != (sent.Key == nil) {
		return fmt.Errorf("its key %.40q became %.40q", sent.Key, parked.Key)
	}
	if !bytes.Equal(parked.Value, sent.Value) || (parked.Value == nil) != (sent.Value == nil) {
		return fmt.Errorf("its value %.40q became %.40q", sent.Value, parked.Value)
	}
	if len(parked.Headers) < len(sent.Headers) {
		return fmt.Errorf("%d headers became %d", len(sent.Headers), len(parked.Headers))
	}
	for i, h := range sent.Headers {
		if got := parked.Headers[i]; got.Key != h.Key || !bytes.Equal(got.Value, h.Value) {
			return fmt.Errorf("header %d, %q, became %q", i, h.Key, got.Key)
		}
	}
	return nil
}

// checkDigest checks that a record that is too large for the parked topic has the size
// and hash of its value, but not its key and value.
func checkDigest(parked, sent *kgo.Record) error {
	sum := sha256.Sum256(sent.Value)
	if lastHeader(parked, "parked_value_sha256") != hex.EncodeToString(sum[:]) ||
		lastHeader(parked, "parked_value_bytes") != strconv.Itoa(len(sent.Value)) {
		return fmt.Errorf("the digest is of %s bytes, the value has %d", lastHeader(parked, "parked_value_bytes"), len(sent.Value))
	}
	if parked.Key != nil || parked.Value != nil {
		return fmt.Errorf("a key of %d and a value of %d bytes are kept beside a digest", len(parked.Key), len(parked.Value))
	}
	const taken = 1_000_000 // every topic accepts records of this size
	if len(sent.Key)+len(sent.Value) < taken {
		return fmt.Errorf("a value of %d bytes is parked by its digest", len(sent.Value))
	}
	return nil
}

// lastHeader returns the last header with a name: the service appends its own headers to
// those of the record.
func lastHeader(r *kgo.Record, key string) string {
	value := ""
	for _, h := range r.Headers {
		if h.Key == key {
			value = string(h.Value)
		}
	}
	return value
}

func notPrintable(r rune) bool { return r < 0x20 || r > 0x7e }

// checkLogLines checks that every log line is a JSON object with a time, without control
// characters, and that no record has forged one.
func (w *world) checkLogLines() {
	w.t.Helper()
	for line := range strings.Lines(w.log.String()) {
		line = strings.TrimSuffix(line, "\n")
		var entry struct {
			Time, Level, Msg string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time == "" || entry.Msg == "" {
			w.t.Errorf("not a log line of the service: %.200q", line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < 0x20 || r == 0x7f }) || strings.Contains(line, "FORGED") {
			w.t.Errorf("a record forged a log line: %.200q", line)
		}
	}
}
