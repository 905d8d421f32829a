// Package mercadopago charges Mercado Pago wallets (Wallet Connect,
// POST /v1/advanced_payments) and classifies each answer of the API.
//
// A [Client] makes single HTTP calls: Capture charges, Get reads a payment, Find
// searches for one. It never repeats a call by itself. Each answer gets a
// [Meaning], which is what the caller has to do, and a [Cause], which is why.
// The causes are the decision table, with the documentation behind each of them;
// decide.go classifies payments, decide_errors.go errors.
//
// Two rules precede all others: no payment that may have been taken is called
// rejected, and none is called captured that was not taken. So an answer that
// cannot be read, that contradicts the request or itself, or that nobody
// documents never decides an event.
package mercadopago

import (
	"net/http"
	"strconv"
	"time"

	"payment-capture/internal/event"
)

// Meaning is what the caller has to do with an answer.
type Meaning uint8

// The meanings. In an answer to [Client.Get], Retry, Wait and Poll all mean to
// read again later.
const (
	Captured Meaning = iota + 1 // the money was taken
	Rejected                    // the money was not taken and will not be under this key
	Retry                       // repeat the call: same key, same body, with backoff
	Wait                        // as Retry, but the API is well: it needs time
	Poll                        // the payment exists and is not final: read it with Get, do not charge again
	Halt                        // our credential or configuration is wrong: make no calls until it is fixed
	Park                        // only an operator can decide
)

// String returns the meaning's name in lower case, as used in logs and metrics.
func (m Meaning) String() string {
	switch m {
	case Captured:
		return "captured"
	case Rejected:
		return "rejected"
	case Retry:
		return "retry"
	case Wait:
		return "wait"
	case Poll:
		return "poll"
	case Halt:
		return "halt"
	case Park:
		return "park"
	}
	return "meaning(" + strconv.Itoa(int(m)) + ")"
}

// Answer is the result of one HTTP call. All its texts are printable, bounded
// in length and free of the access token and the payer token, even if the API
// quotes them.
type Answer struct {
	Meaning Meaning
	Cause   Cause
	// Certain reports, of a Halt, that the API itself names the Cause. Any other
	// Halt may come from a firewall or a proxy that refuses this request alone.
	Certain bool
	// Reason is, of a rejection, the API's status_detail verbatim or one of
	// our own reasons (see [Classify]); of a halt, what is wrong and how to fix
	// it; else "".
	Reason string
	// ParkReason is set if Meaning is Park. For Retry, Wait, Poll and Halt it is
	// the reason to park with once the budget is spent.
	ParkReason event.ParkReason
	Detail     string   // one line that describes the answer
	Payment    *Payment // the payment in the answer, verbatim; nil: there is none

	HTTPStatus int           // 0: there was no answer
	RequestID  string        // the API's x-request-id: what its support asks for
	RetryAfter time.Duration // how long the API asks to wait, at most 15 minutes; 0: it does not ask
	// Sent is false only if no byte of the request was written to a connection
	// for certain.
	Sent bool
	Read bool // this answers Get or Find, which move no money
}

// Payment is the API's advanced payment.
type Payment struct {
	ID           string // "": the answer has no id that Get could read
	Status       string
	Transactions []event.Transaction // at most [maxTransactions]; amounts at their currency's scale
	PayerID      string
	CreatedAt    time.Time // zero if absent, as in rejections
	UpdatedAt    time.Time // zero if absent
	Replayed     bool      // HTTP 200 to a charge: the API knew the key (page wallet-connect/idempotency-returns)
}

// EffectUnknown reports whether this call may have charged, or may be charging,
// without the answer showing it. After such a call only an answer with a payment
// decides; an error that would mean rejected does not.
//
// It is false if the effect is known: captured, rejected, reads, a request that
// was not sent, and refusals made before a payment exists: 400, 401, 403, 404,
// 405, 407, 410, 411, 413, 414, 415, 421, 429, 431. It is true for all else that
// was sent: no or half an answer, 2xx that cannot be read or has an error inside,
// every 5xx and 3xx, 402, 406, 408, 409, 422, 423, 424, 425 and unknown 4xx.
// Error 400057 hints at an existing payment, so it is true as well.
func (a Answer) EffectUnknown() bool {
	if a.Read || !a.Sent || a.Meaning == Captured || a.Meaning == Rejected {
		return false
	}
	if a.Cause == CauseNoAnswer || a.Cause == CauseDuplicateReference {
		return true
	}
	switch a.HTTPStatus {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusLengthRequired, http.StatusRequestEntityTooLarge,
		http.StatusRequestURITooLong, http.StatusUnsupportedMediaType, http.StatusRequestHeaderFieldsTooLarge:
		return false
	}
	return !refusedUnseen(a.HTTPStatus)
}

// RefusedUnseen reports whether this call ended before the API looked at the
// order: the request was not sent, or its credential, method, host or rate was
// refused (401, 403, 405, 407, 421, 429). The call cannot have charged, nor
// registered the key.
func (a Answer) RefusedUnseen() bool {
	if a.Read || a.Payment != nil || a.Meaning == Captured || a.Meaning == Rejected {
		return false
	}
	return !a.Sent || refusedUnseen(a.HTTPStatus)
}

func refusedUnseen(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired,
		http.StatusMisdirectedRequest, http.StatusTooManyRequests:
		return true
	}
	return false
}

// Overloaded reports whether the API asks for fewer calls: HTTP 429 or 503.
func (a Answer) Overloaded() bool {
	return a.HTTPStatus == http.StatusTooManyRequests || a.HTTPStatus == http.StatusServiceUnavailable
}
