package entry

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/ledgerpb"
	"payment-capture/internal/money"
)

// EncodeAttempt returns the value of an attempt's record. It holds no secret.
func EncodeAttempt(a event.Attempt) []byte { return marshal(attemptMessage(a)) }

// EncodeDecision returns the value of a decision's record, with everything that is
// needed to publish the outcome again. It holds no secret.
func EncodeDecision(d *event.Decision) ([]byte, error) {
	if (d.Outcome == nil) == (d.ParkInfo == nil) {
		return nil, errors.New("encode a decision: it must have an outcome or a park reason")
	}
	m := &ledgerpb.Decision{At: milli(d.At), Content: fingerprint(d.Content)}
	attempt := d.Attempt
	if d.Outcome != nil {
		attempt = besides(attempt, d.Outcome)
		m.Result = &ledgerpb.Decision_Outcome{Outcome: outcomeMessage(d.Outcome)}
	} else {
		m.Result = &ledgerpb.Decision_Parking{Parking: parkingMessage(d.ParkInfo)}
	}
	attempt.Event = event.Fingerprint{} // because it is not in the message
	if attempt != (event.Attempt{}) {
		m.Attempt = attemptMessage(attempt)
	}
	for _, f := range d.Superseded {
		m.Superseded = append(m.Superseded, f[:]...)
	}
	return marshal(m), nil
}

// besides returns an attempt without what the outcome repeats, and without what is
// needed only while a call may be repeated.
func besides(a event.Attempt, o *event.Outcome) event.Attempt {
	a.Body, a.Encoding, a.Account, a.Input = event.Fingerprint{}, 0, "", 0
	if a.OrderID == o.OrderID && a.Amount == o.Amount && a.Reference == o.ExternalReference {
		a.OrderID, a.Amount, a.Reference = "", money.Amount{}, ""
	}
	return a
}

func attemptMessage(a event.Attempt) *ledgerpb.Attempt {
	m := &ledgerpb.Attempt{
		First: milli(a.First), Payer: fingerprint(a.Payer), Reference: valid(a.Reference), Amount: a.Amount.String(),
		Currency: string(a.Amount.Currency()), Body: fingerprint(a.Body), Encoding: int64(a.Encoding), Account: valid(a.Account),
		Input: a.Input,
	}
	if m.Amount == "" || a.OrderID != a.Reference {
		m.OrderId = valid(a.OrderID)
	}
	return m
}

func outcomeMessage(o *event.Outcome) *ledgerpb.Outcome {
	m := &ledgerpb.Outcome{
		Captured: o.Type == event.TypeCaptured, OrderId: valid(o.OrderID), Amount: o.Amount.String(),
		Currency: string(o.Amount.Currency()), PaymentId: valid(o.PaymentID), Time: milli(o.Time), CapturedAt: milli(o.CapturedAt),
		ProviderReplayed: o.ProviderReplayed, TraceContext: traceContext(o.TraceParent), Reason: valid(o.Reason),
		Category: valid(string(o.Category)), Retry: valid(string(o.Retry)),
	}
	if o.ExternalReference != o.OrderID {
		m.Reference = valid(o.ExternalReference)
	}
	for _, t := range o.Transactions {
		tm := &ledgerpb.Transaction{
			Id: valid(t.ID), Status: valid(t.Status), StatusDetail: valid(t.StatusDetail), PaymentMethod: valid(t.PaymentMethod),
		}
		if t.Amount != m.Amount {
			tm.Amount = new(valid(t.Amount))
		}
		m.Transactions = append(m.Transactions, tm)
	}
	return m
}

func parkingMessage(p *event.ParkInfo) *ledgerpb.Parking {
	return &ledgerpb.Parking{
		Reason: valid(string(p.Reason)), Detail: valid(p.Detail), FirstAttempt: milli(p.FirstAttempt), Tries: int64(p.Tries),
		HttpStatus: int64(p.HTTPStatus), RequestId: valid(p.RequestID),
	}
}

// marshal encodes a message whose texts are valid.
func marshal(m proto.Message) []byte {
	value, err := proto.Marshal(m)
	if err != nil { // only texts that are not UTF-8 cause one
		panic(fmt.Errorf("encode a ledger entry: %w", err))
	}
	return value
}

// valid replaces invalid UTF-8, as in the published outcome: Protobuf's texts cannot
// have it.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func fingerprint(f event.Fingerprint) []byte {
	if f.IsZero() {
		return nil
	}
	return f[:]
}

// A traceparent is "00-", 32 digits, "-", 16 digits, "-" and 2 digits.
const (
	traceContextSize = 16 + 8 + 1
	traceParentSize  = 3 + 32 + 1 + 16 + 1 + 2
)

// traceContext returns the digits of a traceparent of version 00 as bytes. Events have
// no other version; the outcome of one is published again without it.
func traceContext(parent string) []byte {
	if len(parent) != traceParentSize {
		return nil
	}
	b, err := hex.DecodeString(parent[3:35] + parent[36:52] + parent[53:])
	if err != nil || traceParent(b) != parent {
		return nil
	}
	return b
}

// traceParent returns the traceparent of a trace context.
func traceParent(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	text := make([]byte, 0, traceParentSize)
	text = append(text, "00-"...)
	text = hex.AppendEncode(text, b[:16])
	text = append(text, '-')
	text = hex.AppendEncode(text, b[16:24])
	text = append(text, '-')
	return string(hex.AppendEncode(text, b[24:]))
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
