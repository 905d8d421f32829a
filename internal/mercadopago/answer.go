// Package mercadopago charges Mercado Pago wallets (Wallet Connect,
// POST /v1/advanced_payments) and decides what each answer means.
//
// The decision follows the table of the API reference notes, row by row; see
// decide.go. Its two rules above all others: nothing is called rejected that
// may have been charged, and nothing captured that was not.
package mercadopago

import (
	"net/http"
	"strconv"
	"time"

	"payment-capture/internal/event"
)

// Meaning is what the caller has to do with an answer.
type Meaning uint8

// The meanings. For an answer to [Client.Get], Retry, Wait and Poll all mean:
// read again later.
const (
	Captured Meaning = iota + 1 // the money was taken
	Rejected                    // the money was not taken and will not be under this key
	Retry                       // send again: same key, same body, with backoff
	Wait                        // as Retry, but the API is well: it takes its time, or asks for ours
	Poll                        // the payment exists and is not final: read it with Get, do not send again
	Halt                        // our credential or configuration is wrong: send nothing until it is mended
	Park                        // only a person can tell
)

// String gives the meaning's name in lower case, as used in logs and metrics.
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

// Answer is what came of one HTTP call. All its texts are printable, bounded
// in length and free of the access token and the payer token, even where the
// API quotes them.
type Answer struct {
	Meaning Meaning
	// Row is the row of the decision table that decided; 0 where the request
	// was unfit to be sent.
	Row int
	// Reason is, of a rejection, the API's status_detail verbatim or one of
	// our own reasons (see [Classify]); of a halt, what is wrong and what to
	// do about it; else "".
	Reason string
	// ParkReason is set when Meaning is Park, and says for Retry, Wait, Poll and
	// Halt why to park once the budget is spent.
	ParkReason event.ParkReason
	// Cause is what the answer finds fault with, if that may be more than this
	// event's own matter.
	Cause Cause
	// Certain reports, of a Halt, that the answer names its Cause in the words of
	// the API. A Halt without it may as well come from a firewall or a proxy that
	// dislikes this request alone.
	Certain bool
	Detail  string   // one line for a person
	Payment *Payment // the payment that the answer carries, as it came, or nil

	HTTPStatus int           // 0 where there was no answer
	RequestID  string        // the API's x-request-id: what its support asks for
	RetryAfter time.Duration // how long the API asks to wait; 0 where it does not say, never over 15 minutes
	// Sent is false only when it is certain that no byte of the request was
	// written to a connection.
	Sent bool
	// Read says that this answers Get, which moves no money.
	Read bool
}

// Payment is the API's advanced payment.
type Payment struct {
	ID           string // "" where the answer has none that could be read by
	Status       string
	Transactions []event.Transaction // at most [maxTransactions]; amounts at their currency's scale
	PayerID      string
	CreatedAt    time.Time // zero where absent, as rejections have it
	UpdatedAt    time.Time // zero where absent
	Replayed     bool      // HTTP 200 to a charge: the API knew the key (page wallet-connect/idempotency-returns)
}

// EffectUnknown reports whether this try may have charged, or may be charging,
// without the answer telling. After such a try, only an answer that carries a
// payment decides; an error that would mean rejected does not.
//
// It is false where the effect is known: captured, rejected, reads, a request
// that was not sent (row 32), and refusals made before a payment exists: 400,
// 401, 403, 404, 405, 407, 410, 411, 413, 414, 415, 421, 429, 431. It is true for all
// else that was sent: no or half an answer (row 33), 2xx that cannot be read
// or has an error inside, every 5xx and 3xx, 402, 406, 408, 409, 422, 423,
// 424, 425 and 4xx never heard of. Error 400057 (row 19) is a 400 that hints
// at an existing payment, so it is true as well.
func (a Answer) EffectUnknown() bool {
	if a.Read || !a.Sent || a.Meaning == Captured || a.Meaning == Rejected {
		return false
	}
	if a.Row == rowNoAnswer || a.ParkReason == event.ParkDuplicateRefer {
		return true
	}
	switch a.HTTPStatus {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusProxyAuthRequired, http.StatusMisdirectedRequest, http.StatusGone, http.StatusLengthRequired, http.StatusRequestEntityTooLarge,
		http.StatusRequestURITooLong, http.StatusUnsupportedMediaType, http.StatusTooManyRequests,
		http.StatusRequestHeaderFieldsTooLarge:
		return false
	}
	return true
}

// RefusedUnseen reports whether this try ended before anybody looked at the
// order: it never went out (row 32), or the credential, the method, the host or
// the pace was refused (401, 403, 405, 407, 421, 429). It cannot have charged,
// nor made a key known.
func (a Answer) RefusedUnseen() bool {
	if a.Read || a.Payment != nil || a.Meaning == Captured || a.Meaning == Rejected {
		return false
	}
	switch a.HTTPStatus {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired,
		http.StatusMisdirectedRequest, http.StatusTooManyRequests:
		return true
	}
	return !a.Sent
}
