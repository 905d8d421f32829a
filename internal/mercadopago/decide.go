package mercadopago

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"payment-capture/internal/event"
)

// Rows of the decision table that code other than decide's helpers names.
const (
	rowNotSent    = 32 // failed before a connection was there to write to
	rowNoAnswer   = 33 // failed after it
	rowCredential = 27 // our credential
	rowUnknown    = 10 // a status that tells nothing: read by id once
	rowUnreadable = 11 // success, and nothing that can be read
	rowMaybeOurs  = 19 // a payment under this reference may exist

	rowContradicted = 9 // a payment that is not what was asked for
)

// exchange is one complete answer and what it is judged by.
type exchange struct {
	status  int  // the HTTP status
	read    bool // answers a GET
	raw     []byte
	body    body
	request Request
	scrub   *scrubber

	requestID  string        // as in Answer
	retryAfter time.Duration // as in Answer
}

// decide gives the meaning of a complete answer: the whole of the decision
// table (§1 of the API reference notes), in the order of its §1g. The parts
// are in functions by its sections 1a to 1e. Row 32 and 33, where there is no
// complete answer, are in client.go.
//
// It looks at the HTTP status and the causes' codes as a whole, never at a
// code's leading digits: 409 comes with code 401001.
func decide(x exchange) Answer { return x.answer() }

func (x *exchange) answer() Answer {
	a := x.judge()
	a.HTTPStatus, a.Sent, a.Read = x.status, true, x.read
	a.RequestID, a.RetryAfter = x.requestID, x.retryAfter
	if a.Meaning != Halt {
		a.Cause = causeOf(a.Row)
	}
	if a.Detail == "" {
		a.Detail = x.describe()
	}
	a.Detail = x.scrub.text(a.Detail, maxDetail)
	if a.Meaning == Rejected {
		a.Reason = x.scrub.word(a.Reason)
	}
	if a.ParkReason == "" && (a.Meaning == Retry || a.Meaning == Wait || a.Meaning == Poll) {
		a.ParkReason = event.ParkUndecided
	}
	return a
}

func (x *exchange) judge() Answer {
	ok2xx := x.status >= 200 && x.status <= 299
	switch {
	case x.status >= 300 && x.status <= 399:
		return x.errorAnswer(x.status) // row 31, whatever the body says
	case ok2xx && !x.body.readable:
		// Row 11: empty, truncated, too large, or no JSON object. The money may
		// have moved; the same key will tell.
		return Answer{Meaning: Retry, Row: 11}
	case ok2xx && x.body.isProblem():
		return x.problemIn2xx()
	case ok2xx:
		return x.paymentAnswer()
	case x.status == http.StatusPaymentRequired:
		return x.answer402()
	}
	return x.errorAnswer(x.status)
}

// problemIn2xx judges an error under a 2xx status by the status inside: the
// Portuguese page of capture-payment-returns shows HTTP 201 with
// "status":"401" where the others show 401 (row 13).
func (x *exchange) problemIn2xx() Answer {
	if len(x.body.children) > 0 {
		// Row 9: an error, and payments that may be money taken.
		return x.contradicted("it has a numeric status and payments in one")
	}
	inner := x.body.httpStatus()
	if inner == 0 {
		// An error that names no HTTP error, under a status of success: as
		// little to be read as row 11.
		return Answer{Meaning: Retry, Row: 11}
	}
	return x.errorAnswer(inner)
}

// paymentAnswer is section 1a, rows 1-11.
func (x *exchange) paymentAnswer() Answer {
	b := &x.body
	a := Answer{Payment: x.payment()}
	if a.Payment == nil {
		// Row 10: a JSON object with neither id nor payments. Nothing to read
		// it by, nothing to believe a status of.
		a.Meaning, a.Row, a.ParkReason = Park, 10, event.ParkUnexpectedStatus
		a.Detail = fmt.Sprintf("HTTP %d without a payment (status %q)", x.status, b.status)
		return a
	}
	if why := x.contradiction(); why != "" {
		return x.contradicted(why) // row 9
	}
	if x.status != http.StatusCreated && x.status != http.StatusOK {
		// Only 201 and 200 are documented. 202 would mean that it is not done.
		return x.unknownStatus(a)
	}
	switch b.status {
	case "approved":
		return x.approved(a)
	case "rejected":
		return x.rejected(a)
	case "pending", "in_process":
		// Row 5. binary_mode rules it out (advanced-payments/status-map), yet the
		// reference lists in_process. Sending again would ask the key, not the
		// payment, so it is read by its id; without one, the key has to do.
		a.Meaning, a.Row = Poll, 5
		if b.id == "" {
			a.Meaning = Wait
		}
		return a
	case "authorized":
		// Row 6: reserved only. We never send capture:false.
		a.Row = 6
	case "refunded", "partially_refunded", "charged_back", "in_mediation":
		// Row 7: money moved and came back outside this service.
		a.Row = 7
	case "cancelled", "canceled":
		// Row 8: by_collector, by_payer, expired. Both spellings: the documents
		// have date_cancelled and date_canceled.
		a.Row = 8
	default:
		return x.unknownStatus(a)
	}
	a.Meaning, a.ParkReason = Park, event.ParkUnexpectedStatus
	return a
}

// approved is rows 1 and 2; what contradicts is sorted out before.
func (x *exchange) approved(a Answer) Answer {
	for _, c := range x.body.children {
		if c.status == "approved" && c.detail == "partially_refunded" {
			// Row 7 in other words: paid, and part of it returned (§6).
			a.Meaning, a.Row, a.ParkReason = Park, 7, event.ParkUnexpectedStatus
			return a
		}
	}
	// Row 1: capture-payment-returns. Row 2: idempotency-returns, a known key
	// answers 200 with the stored payment.
	a.Meaning, a.Row = Captured, 1
	if a.Payment.Replayed {
		a.Row = 2
	}
	return a
}

// rejected is rows 3 and 4: the detail of the last rejected child is the
// reason. A replayed rejection (200) is nowhere shown, and means the same.
func (x *exchange) rejected(a Answer) Answer {
	a.Meaning, a.Row, a.Reason = Rejected, 3, reasonUnspecified
	for _, c := range x.body.children {
		if c.status != "rejected" {
			continue
		}
		a.Row = 3
		if c.id == "" {
			// Row 4: no balance, so no payment was made; insufficient_money, in
			// older documents insufficient_amount.
			a.Row = 4
		}
		a.Reason = c.detail
		if c.detail == "" {
			a.Reason = reasonUnspecified
		}
	}
	return a
}

// unknownStatus is row 10: a word that is not in the list, or none (as in the
// documented GET sample). Read once by id; if that tells no more, park.
func (x *exchange) unknownStatus(a Answer) Answer {
	a.Meaning, a.Row, a.ParkReason = Poll, 10, event.ParkUnexpectedStatus
	if x.read || x.body.id == "" {
		a.Meaning = Park
	}
	return a
}

// contradicted is row 9.
func (x *exchange) contradicted(why string) Answer {
	return Answer{
		Meaning: Park, Row: 9, ParkReason: event.ParkContradictory, Payment: x.payment(),
		Detail: fmt.Sprintf("HTTP %d, payment %s contradicts: %s", x.status, orNone(x.body.id), why),
	}
}

// answer402 is row 12. An SDK's comment calls 402 a processing error; it was
// never shown for wallets, so only a payment that says rejected is believed.
func (x *exchange) answer402() Answer {
	if !x.body.readable || x.body.isProblem() || x.body.status != "rejected" || x.payment() == nil {
		return Answer{Meaning: Retry, Row: 12}
	}
	if why := x.contradiction(); why != "" {
		return x.contradicted(why)
	}
	a := x.rejected(Answer{Payment: x.payment()})
	a.Row = 12
	return a
}

// describe tells the answer to a person where no row does.
func (x *exchange) describe() string {
	line := "HTTP " + strconv.Itoa(x.status)
	b := &x.body
	switch {
	case b.readable && (b.isProblem() || b.problem.message != ""):
		if said := b.problem.line(); said != "" {
			line += ": " + said
		}
		if b.status != "" && b.httpStatus() != x.status {
			line += fmt.Sprintf(" [status %q in the body]", b.status)
		}
	case b.readable:
		line += ", payment " + orNone(b.id) + ": " + orNone(b.status)
	case len(x.raw) == 0:
		line += ", empty body"
	case len(x.raw) > maxBody:
		line += fmt.Sprintf(", a body of over %d bytes", maxBody)
	case len(x.raw) <= maxText:
		line += ", unreadable body: " + string(x.raw)
	default:
		line += fmt.Sprintf(", unreadable body of %d bytes", len(x.raw))
	}
	return line
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}
