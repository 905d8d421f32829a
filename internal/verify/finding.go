package verify

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The severities of a finding.
const (
	severityDifference = "difference" // something is wrong
	severityWarning    = "warning"    // an operator should know
)

// Kind is what is found: a closed list, in the order of the documentation.
type Kind string

// The kinds of finding.
const (
	MissingOutcome       Kind = "missing_outcome"
	UndecidedAttempt     Kind = "undecided_attempt"
	DoubledOutcome       Kind = "doubled_outcome"
	ContradictoryOutcome Kind = "contradictory_outcomes"
	ParkedBesideOutcome  Kind = "parked_beside_outcome"
	ParkedTwice          Kind = "parked_twice"
	WrongAmount          Kind = "wrong_amount"
	WrongCurrency        Kind = "wrong_currency"
	WrongOrder           Kind = "wrong_order"
	WrongReference       Kind = "wrong_reference"
	WrongID              Kind = "wrong_id"
	WrongTopic           Kind = "wrong_topic"
	ContentsDiffer       Kind = "contents_differ"
	InvalidOutcome       Kind = "invalid_outcome"
	OutcomeWithoutEvent  Kind = "outcome_without_event"
	LedgerDiffers        Kind = "ledger_differs"
	LedgerWithoutOutcome Kind = "ledger_without_outcome"
	OutcomeNotInLedger   Kind = "outcome_not_in_ledger"
	LedgerWithoutEvent   Kind = "ledger_without_event"
	InvalidLedgerRecord  Kind = "invalid_ledger_record"
	ForeignOffset        Kind = "foreign_offset"
	GroupWithoutOffsets  Kind = "group_without_offsets"
	// LedgerWithoutDecisions: the ledger is empty, or another one.
	LedgerWithoutDecisions Kind = "ledger_without_decisions"
	SharedPayment          Kind = "shared_payment"
	SharedReference        Kind = "shared_reference"
	APIDiffers             Kind = "api_differs"
	APIMissing             Kind = "api_missing"
	APIPaid                Kind = "api_paid"
	APIRefunded            Kind = "api_refunded"
	ConflictingEvent       Kind = "conflicting_event"
	EventNotRetained       Kind = "event_not_retained"
	OnlyReplayed           Kind = "only_replayed"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{
		MissingOutcome, UndecidedAttempt, DoubledOutcome, ContradictoryOutcome, ParkedBesideOutcome, ParkedTwice,
		WrongAmount, WrongCurrency, WrongOrder, WrongReference, WrongID, WrongTopic, ContentsDiffer, InvalidOutcome,
		OutcomeWithoutEvent, LedgerDiffers, LedgerWithoutOutcome, OutcomeNotInLedger, LedgerWithoutEvent, InvalidLedgerRecord,
		ForeignOffset, GroupWithoutOffsets, LedgerWithoutDecisions,
		SharedPayment, SharedReference, APIDiffers, APIMissing, APIPaid, APIRefunded, ConflictingEvent, EventNotRetained, OnlyReplayed,
	}
}

// severity is that of a kind.
func (k Kind) severity() string {
	if slices.Contains([]Kind{APIRefunded, ConflictingEvent, EventNotRetained, OnlyReplayed}, k) {
		return severityWarning
	}
	return severityDifference
}

// Finding is something that is wrong, or that an operator should know.
type Finding struct {
	Severity  string   `json:"severity"` // difference or warning
	Kind      Kind     `json:"kind"`
	EventID   string   `json:"event_id"`
	OrderID   string   `json:"order_id,omitempty"`
	Reference string   `json:"external_reference,omitempty"`
	Amount    string   `json:"amount,omitempty"` // of the event, or of the outcome if there is no event
	Currency  string   `json:"currency,omitempty"`
	PaymentID string   `json:"payment_id,omitempty"`
	Detail    string   `json:"detail"`
	Records   []string `json:"records,omitempty"` // topic/partition@offset, a few of each sort
}

// key puts findings in the order of their events.
func (f Finding) key() []byte {
	key := append([]byte{spaceFinding}, f.EventID...)
	key = append(key, 0)
	key = append(key, byte(slices.Index(Kinds(), f.Kind))) //nolint:gosec // G115: a short list
	d := digestOf([]byte(f.Detail), []byte(strings.Join(f.Records, " ")), []byte(f.PaymentID))
	return append(key, d[:]...)
}

// Writer writes findings to a file.
type Writer interface {
	Write(f Finding) error
	// Close writes what is buffered. The file itself is left open.
	Close() error
}

// NewWriter returns a writer of a format: JSON lines or CSV.
func NewWriter(w io.Writer, format string) (Writer, error) {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return jsonWriter{e}, nil
	case "csv":
		c := csvWriter{csv.NewWriter(w)}
		return c, c.Writer.Write([]string{
			"severity", "kind", "event_id", "order_id", "external_reference", "amount", "currency", "payment_id", "detail", "records",
		})
	}
	return nil, fmt.Errorf("%q is not json or csv", format)
}

type jsonWriter struct{ *json.Encoder }

// Write implements [Writer].
func (w jsonWriter) Write(f Finding) error { return w.Encode(f) }

// Close implements [Writer].
func (jsonWriter) Close() error { return nil }

type csvWriter struct{ *csv.Writer }

// Write implements [Writer].
func (w csvWriter) Write(f Finding) error {
	row := []string{
		f.Severity, string(f.Kind), f.EventID, f.OrderID, f.Reference, f.Amount, f.Currency, f.PaymentID, f.Detail,
		strings.Join(f.Records, " "),
	}
	for i, text := range row {
		// A spreadsheet would take it for a formula, and it is a buyer's text.
		if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
			row[i] = "'" + text
		}
	}
	return w.Writer.Write(row)
}

// Close implements [Writer].
func (w csvWriter) Close() error {
	w.Flush()
	return w.Error()
}
