// Package event reads and writes the three CloudEvents of the service:
// order.ready_to_capture in, payment.captured and payment.rejected out, and
// the parked record. The formats are held to the JSON Schemas in schemas/.
package event

import (
	"time"

	"payment-capture/internal/money"
	"payment-capture/internal/secret"
)

// The CloudEvents types that the service reads and writes.
const (
	TypeReadyToCapture = "order.ready_to_capture"
	TypeCaptured       = "payment.captured"
	TypeRejected       = "payment.rejected"
)

// Source is the CloudEvents source of every outcome.
const Source = "/payment-capture"

// Provider names the payment provider in an outcome.
const Provider = "mercadopago"

// Message is a Kafka record as far as events are concerned.
type Message struct {
	Key       []byte // nil where the record has none
	Value     []byte // nil for a tombstone
	Headers   []Header
	Timestamp time.Time // zero where the record has none
}

// Header is a Kafka record header; keys may repeat.
type Header struct {
	Key   string
	Value []byte
}

// ReadyToCapture says that an order may be paid. It is valid by construction:
// [Decode] is the only way to one.
type ReadyToCapture struct {
	ID          string // the idempotency key of the capture: 1-64 printable ASCII characters, no spaces
	Source      string
	Subject     string
	Time        time.Time // when it happened; the record's timestamp where the event has none
	TraceParent string    // W3C trace context, or ""
	// TimeFromRecord: the event has no time of its own.
	TimeFromRecord bool

	OrderID           string
	Amount            money.Amount
	Description       string
	ExternalReference string // the payment's reference at the API: [A-Za-z0-9_-]{1,64}
	PayerToken        secret.Text
	Account           string // which account shall capture it; "": whichever reads it
	DeviceSessionID   string // the buyer's device, or ""
	SubMerchant       *SubMerchant
}

// SubMerchant is forward_data.sub_merchant: whom a payment facilitator in
// Brazil charges for. All fourteen fields are required (mercadopago
// reference §3); the order of the fields here is the order they are sent in.
type SubMerchant struct {
	ID                string `json:"sub_merchant_id"`
	MCC               string `json:"mcc"`
	Country           string `json:"country"`
	AddressDoorNumber uint32 `json:"address_door_number"`
	Zip               string `json:"zip"`
	DocumentNumber    string `json:"document_number"`
	City              string `json:"city"`
	AddressStreet     string `json:"address_street"`
	LegalName         string `json:"legal_name"`
	RegionCodeISO     string `json:"region_code_iso"`
	RegionCode        string `json:"region_code"`
	DocumentType      string `json:"document_type"`
	Phone             string `json:"phone"`
	URL               string `json:"url"`
}

// Outcome is what came of an event: money taken, or refused for good. It has
// the same id and the same content whenever it is produced for an event.
type Outcome struct {
	Type        string // TypeCaptured or TypeRejected
	Subject     string // the order id
	Time        time.Time
	TraceParent string

	EventID           string
	OrderID           string
	Amount            money.Amount
	ExternalReference string
	PaymentID         string // the API's advanced payment; "" where a rejection has none
	Transactions      []Transaction
	CapturedAt        time.Time // zero for a rejection
	ProviderReplayed  bool      // the API answered from its own memory of the key
	Replayed          bool      // published again from the ledger

	// Of a rejection only:
	Reason   string // the API's status_detail verbatim, or one of ours
	Category Category
	Retry    Retry
}

// Transaction is one payment inside the API's advanced payment.
type Transaction struct {
	ID            string `json:"id,omitzero"`
	Status        string `json:"status,omitzero"`
	StatusDetail  string `json:"status_detail,omitzero"`
	PaymentMethod string `json:"payment_method,omitzero"`
	Amount        string `json:"amount,omitzero"`
}

// Category is what kind of rejection it is: a closed list that consumers can
// switch over, where the reason is an open one.
type Category string

// The categories.
const (
	CategoryInsufficientFunds    Category = "insufficient_funds"
	CategoryDeclined             Category = "declined"
	CategoryFraud                Category = "fraud"
	CategoryAgreementCancelled   Category = "agreement_cancelled"
	CategoryInvalidPaymentMethod Category = "invalid_payment_method"
	CategoryOther                Category = "other"
)

// Retry says whether a new event, with a new id, can do better.
type Retry string

// The kinds of retry.
const (
	RetryNever       Retry = "never"        // the same order will be refused again
	RetryLater       Retry = "later"        // the same agreement may succeed later
	RetryBuyerAction Retry = "buyer_action" // the buyer must do something first
)

// Result is how an event ends: an outcome, or parked. One of the two is set.
type Result struct {
	Outcome  *Outcome
	ParkInfo *ParkInfo
}

// ParkInfo says why a record waits for a person.
type ParkInfo struct {
	Reason       ParkReason
	Detail       string // for a person: what happened and what to look at; no secrets
	FirstAttempt time.Time
	Tries        int    // HTTP calls made
	HTTPStatus   int    // of the last answer; 0 where there was none
	RequestID    string // the API's x-request-id of the last answer
}

// ParkReason is why a record is parked: a closed list.
type ParkReason string

// The reasons for parking.
const (
	ParkInvalidEvent      ParkReason = "invalid_event"        // not a valid order.ready_to_capture
	ParkWrongCurrency     ParkReason = "wrong_currency"       // not the currency of the account's site
	ParkTooOld            ParkReason = "too_old"              // older than CAPTURE_MAX_EVENT_AGE
	ParkTimeInFuture      ParkReason = "time_in_future"       // its time is too far ahead to wait for it
	ParkUndecided         ParkReason = "undecided"            // the budget is spent and nobody knows
	ParkErrorAfterUnknown ParkReason = "error_after_unknown"  // refused, after a try that may have charged
	ParkKeyUsed           ParkReason = "idempotency_key_used" // the API says that the key is used
	ParkContradictory     ParkReason = "contradictory_answer" // the answer contradicts itself or the request
	ParkUnexpectedStatus  ParkReason = "unexpected_status"    // a state that this service never asks for
	ParkRefusedRequest    ParkReason = "refused_request"      // the API finds fault with this request
	ParkDuplicateRefer    ParkReason = "reference_duplicated" // a payment under this reference may exist
	ParkKeyExpired        ParkReason = "key_expired"          // tried so long ago that the API may have forgotten its key
	ParkTriedOtherwise    ParkReason = "tried_otherwise"      // tried before with another body, or for another account
	ParkConflicting       ParkReason = "conflicting_event"    // the API was called for something else under this id
	ParkBlocked           ParkReason = "blocked"              // something on the way to the API refuses this event's calls alone
	// ParkReferenceCaptured: another event was captured under its reference, and CAPTURE_ONCE_PER is reference.
	ParkReferenceCaptured ParkReason = "reference_already_captured"
)

// ParkReasons lists every reason for parking.
func ParkReasons() []ParkReason {
	return []ParkReason{
		ParkInvalidEvent, ParkWrongCurrency, ParkTooOld, ParkTimeInFuture, ParkUndecided, ParkErrorAfterUnknown,
		ParkKeyUsed, ParkContradictory, ParkUnexpectedStatus, ParkRefusedRequest, ParkDuplicateRefer,
		ParkKeyExpired, ParkTriedOtherwise, ParkConflicting, ParkReferenceCaptured, ParkBlocked,
	}
}
