package entry

import (
	"cmp"
	"fmt"

	"google.golang.org/protobuf/proto"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/ledgerpb"
	"payment-capture/internal/money"
)

// layout is the layout of the values that this version writes. A reader refuses a newer
// one.
const layout = 0

// DecodeAttempt decodes the value of an attempt's record. The error is [ErrUnreadable].
func DecodeAttempt(value []byte) (event.Attempt, error) {
	m := &ledgerpb.Attempt{}
	if err := unmarshal(value, m); err != nil {
		return event.Attempt{}, err
	}
	if m.First == 0 {
		return event.Attempt{}, fmt.Errorf("%w: an attempt without its time", ErrUnreadable)
	}
	if err := checkAttempt(m); err != nil {
		return event.Attempt{}, err
	}
	a := attemptOf(m)
	identify(&a)
	return a, nil
}

// DecodeDecision decodes the value of the record of a decision on an event. The
// error is [ErrUnreadable].
func DecodeDecision(id string, value []byte) (*event.Decision, error) {
	m, err := decisionOf(value)
	if err != nil {
		return nil, err
	}
	d := &event.Decision{At: fromMilli(m.At), Content: fingerprintOf(m.Content)}
	for b := m.Superseded; len(b) > 0; b = b[fingerprintSize:] {
		d.Superseded = append(d.Superseded, event.Fingerprint(b[:fingerprintSize]))
	}
	if m.Attempt != nil {
		d.Attempt = attemptOf(m.Attempt)
	}
	if o := m.GetOutcome(); o != nil {
		d.Outcome = outcomeOf(id, o)
		d.Attempt = filled(besides(d.Attempt, d.Outcome), d.Outcome)
	} else {
		d.ParkInfo = parkInfoOf(m.GetParking())
	}
	identify(&d.Attempt)
	return d, nil
}

// decisionOf decodes and checks a decision's message.
func decisionOf(value []byte) (*ledgerpb.Decision, error) {
	m := &ledgerpb.Decision{}
	if err := unmarshal(value, m); err != nil {
		return nil, err
	}
	o := m.GetOutcome()
	if o == nil && m.GetParking() == nil {
		return nil, fmt.Errorf("%w: a decision of a kind that this version does not know: run the newer version", ErrUnreadable)
	}
	if n := len(m.Superseded); n%fingerprintSize != 0 {
		return nil, fmt.Errorf("%w: fingerprints of %d bytes", ErrUnreadable, n)
	}
	if err := checkFingerprint(m.Content); err != nil {
		return nil, err
	}
	if m.Attempt != nil {
		if err := checkAttempt(m.Attempt); err != nil {
			return nil, err
		}
	}
	if o == nil {
		return m, nil
	}
	if n := len(o.TraceContext); n != 0 && n != traceContextSize {
		return nil, fmt.Errorf("%w: a trace context of %d bytes", ErrUnreadable, n)
	}
	_, err := amountOf(o.Amount, o.Currency)
	return m, err
}

func unmarshal(value []byte, m interface {
	proto.Message
	GetLayout() uint32
},
) error {
	if err := proto.Unmarshal(value, m); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if l := m.GetLayout(); l > layout {
		return fmt.Errorf("%w: it has layout %d, and this version knows up to %d: run the newer version", ErrUnreadable, l, layout)
	}
	return nil
}

func checkAttempt(m *ledgerpb.Attempt) error {
	if err := checkFingerprint(m.Payer); err != nil {
		return err
	}
	if err := checkFingerprint(m.Body); err != nil {
		return err
	}
	if m.Amount == "" {
		return nil
	}
	_, err := amountOf(m.Amount, m.Currency)
	return err
}

const fingerprintSize = len(event.Fingerprint{})

func checkFingerprint(b []byte) error {
	if n := len(b); n != 0 && n != fingerprintSize {
		return fmt.Errorf("%w: a fingerprint of %d bytes", ErrUnreadable, n)
	}
	return nil
}

func amountOf(text, code string) (money.Amount, error) {
	currency, err := money.ParseCurrency(code)
	if err != nil {
		return money.Amount{}, fmt.Errorf("%w: currency: %w", ErrUnreadable, err)
	}
	amount, err := money.Parse(text, currency)
	if err != nil {
		return money.Amount{}, fmt.Errorf("%w: amount: %w", ErrUnreadable, err)
	}
	return amount, nil
}

// The functions below convert messages that were checked.

func attemptOf(m *ledgerpb.Attempt) event.Attempt {
	a := event.Attempt{
		First: fromMilli(m.First), Body: fingerprintOf(m.Body), Encoding: int(m.Encoding), Account: m.Account,
		Reference: m.Reference, OrderID: m.OrderId, Payer: fingerprintOf(m.Payer), Input: m.Input,
	}
	if m.Amount != "" {
		a.OrderID = cmp.Or(a.OrderID, a.Reference)
		a.Amount, _ = amountOf(m.Amount, m.Currency)
	}
	return a
}

// filled returns an attempt with what [besides] left out because the outcome repeats it.
func filled(a event.Attempt, o *event.Outcome) event.Attempt {
	if a != (event.Attempt{}) && a.OrderID == "" && a.Reference == "" && a.Amount.IsZero() {
		a.OrderID, a.Amount, a.Reference = o.OrderID, o.Amount, o.ExternalReference
	}
	return a
}

// identify sets the fingerprint of the attempt's event, which derives from the rest.
func identify(a *event.Attempt) {
	if !a.Payer.IsZero() && !a.Amount.IsZero() {
		a.Event = event.ChargeFingerprint(a.OrderID, a.Amount, a.Reference, a.Payer)
	}
}

func outcomeOf(id string, m *ledgerpb.Outcome) *event.Outcome {
	o := &event.Outcome{
		Type: event.TypeRejected, Subject: m.OrderId, Time: fromMilli(m.Time), TraceParent: traceParent(m.TraceContext),
		EventID: id, OrderID: m.OrderId, ExternalReference: cmp.Or(m.Reference, m.OrderId), PaymentID: m.PaymentId,
		CapturedAt: fromMilli(m.CapturedAt), ProviderReplayed: m.ProviderReplayed,
		Reason: m.Reason, Category: event.Category(m.Category), Retry: event.Retry(m.Retry),
	}
	if m.Captured {
		o.Type = event.TypeCaptured
	}
	o.Amount, _ = amountOf(m.Amount, m.Currency)
	for _, t := range m.Transactions {
		amount := m.Amount
		if t.Amount != nil {
			amount = *t.Amount
		}
		o.Transactions = append(o.Transactions, event.Transaction{
			ID: t.Id, Status: t.Status, StatusDetail: t.StatusDetail, PaymentMethod: t.PaymentMethod, Amount: amount,
		})
	}
	return o
}

func parkInfoOf(m *ledgerpb.Parking) *event.ParkInfo {
	return &event.ParkInfo{
		Reason: event.ParkReason(m.Reason), Detail: m.Detail, FirstAttempt: fromMilli(m.FirstAttempt), Tries: int(m.Tries),
		HTTPStatus: int(m.HttpStatus), RequestID: m.RequestId,
	}
}

func fingerprintOf(b []byte) (f event.Fingerprint) {
	copy(f[:], b)
	return f
}
