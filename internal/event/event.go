// Package event defines the wire formats of the service and the types that
// they are decoded to.
//
// [Decoder] decodes order.ready_to_capture events in structured or binary mode.
// If a record is not a valid event, the error states whether it is invalid,
// and then parked, or not meant for the service, and then skipped.
// [Outcome.Encode] and [DecodeOutcome] write and read payment.captured and
// payment.rejected. [EncodeParked] writes the parked record, and [Resend] the
// headers of a parked record that an operator sends again. Tests compare all
// of these with the JSON Schemas in schemas/.
//
// [History], [Attempt] and [Decision] are what the ledger keeps of an event.
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

// provider is the name of the payment provider in an outcome.
const provider = "mercadopago"

// Message is the part of a Kafka record that events are encoded in.
type Message struct {
	Key       []byte // nil if the record has none
	Value     []byte // nil for a tombstone
	Headers   []Header
	Timestamp time.Time // zero if the record has none
}

// Header is a Kafka record header; keys may repeat.
type Header struct {
	Key   string
	Value []byte
}

// ReadyToCapture is an order.ready_to_capture event: an order may be paid. It is
// valid by construction, because only [Decoder] returns one.
type ReadyToCapture struct {
	ID          string // the idempotency key of the capture: 1-64 printable ASCII characters, no spaces
	Source      string
	Subject     string
	Time        time.Time // when it happened; the record's timestamp if the event has none
	TraceParent string    // W3C trace context, or ""
	// TimeFromRecord states that the event has no time of its own.
	TimeFromRecord bool
	RecordTime     time.Time // the timestamp of the record; zero: none

	OrderID           string
	Amount            money.Amount
	Description       string
	ExternalReference string // the payment's reference at the API: [A-Za-z0-9_-]{1,64}
	PayerToken        secret.Text
	Account           string // the account that captures it; "": any account
	DeviceSessionID   string // the buyer's device, or ""
	SubMerchant       *SubMerchant
}

// SubMerchant is forward_data.sub_merchant: the merchant that a payment facilitator in
// Brazil charges for. The API requires all fourteen fields; requests have them in
// this order.
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

// Outcome is the published result of an event: payment.captured or
// payment.rejected. All outcomes of one event have the same id and content.
type Outcome struct {
	Type        string // TypeCaptured or TypeRejected
	Subject     string // the order id
	Time        time.Time
	TraceParent string

	EventID           string
	OrderID           string
	Amount            money.Amount
	ExternalReference string
	PaymentID         string // the API's advanced payment; "" if a rejection has none
	Transactions      []Transaction
	CapturedAt        time.Time // zero for a rejection
	ProviderReplayed  bool      // the API returned its stored answer for the idempotency key
	Replayed          bool      // published again from the ledger

	// A rejection has these, too.
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

// Category is the kind of a rejection: a closed list that consumers can switch
// over, while the list of reasons is open.
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

// Retry is whether a new event, with a new id, can succeed.
type Retry string

// The kinds of retry.
const (
	RetryNever       Retry = "never"        // the API will refuse the same order again
	RetryLater       Retry = "later"        // the same agreement may succeed later
	RetryBuyerAction Retry = "buyer_action" // the buyer must do something first
)

// Result is an outcome or the reason for parking. One of the two is set.
type Result struct {
	Outcome  *Outcome
	ParkInfo *ParkInfo
}

// ParkInfo is why a record is parked and waits for an operator.
type ParkInfo struct {
	Reason       ParkReason
	Detail       string // for the operator: what happened and what to check; no secrets
	FirstAttempt time.Time
	Tries        int    // HTTP calls made
	HTTPStatus   int    // of the last answer; 0 if there was none
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
	ParkUndecided         ParkReason = "undecided"            // the budget is spent, and the result is unknown
	ParkErrorAfterUnknown ParkReason = "error_after_unknown"  // refused, after a call that may have charged
	ParkKeyUsed           ParkReason = "idempotency_key_used" // the API says that the key is used
	ParkContradictory     ParkReason = "contradictory_answer" // the answer contradicts itself or the request
	ParkUnexpectedStatus  ParkReason = "unexpected_status"    // a payment state that this service never requests
	ParkRefusedRequest    ParkReason = "refused_request"      // the API rejects the request as invalid
	ParkDuplicateRefer    ParkReason = "reference_duplicated" // a payment under this reference may exist
	ParkKeyExpired        ParkReason = "key_expired"          // the attempt is older than the key retention of the API
	ParkTriedOtherwise    ParkReason = "tried_otherwise"      // the attempt had another body or account
	ParkConflicting       ParkReason = "conflicting_event"    // the attempt was for another event with this id
	ParkBlocked           ParkReason = "blocked"              // the calls of this event alone are refused, by a proxy or in another way that no payer explains
	ParkCompeting         ParkReason = "competing_attempt"    // another event of its order was attempted first, with no known result
	// ParkReferenceCaptured is for a reference under which another event was captured, if CAPTURE_ONCE_PER is reference.
	ParkReferenceCaptured ParkReason = "reference_already_captured"
	// ParkPossibleDuplicate is for an event that repeats the reference, amount, currency and payer of one that was
	// captured within CAPTURE_DUPLICATE_WINDOW, if CAPTURE_ONCE_PER is payment.
	ParkPossibleDuplicate ParkReason = "possible_duplicate"
)

// ParkReasons lists every reason for parking.
func ParkReasons() []ParkReason {
	return []ParkReason{
		ParkInvalidEvent, ParkWrongCurrency, ParkTooOld, ParkTimeInFuture, ParkUndecided, ParkErrorAfterUnknown,
		ParkKeyUsed, ParkContradictory, ParkUnexpectedStatus, ParkRefusedRequest, ParkDuplicateRefer,
		ParkKeyExpired, ParkTriedOtherwise, ParkConflicting, ParkReferenceCaptured, ParkPossibleDuplicate, ParkBlocked,
		ParkCompeting,
	}
}
