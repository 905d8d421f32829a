package mercadopago

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"payment-capture/internal/event"
)

// exchange is one complete answer and the request that it is compared with.
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

// decide classifies a complete answer: the HTTP status, the payment and the codes
// of the causes as a whole, never the leading digits of a code (409 comes with
// code 401001). client.go classifies calls without a complete answer.
func decide(x exchange) Answer { return x.answer() }

func (x *exchange) answer() Answer {
	a := x.classify()
	a.HTTPStatus, a.Sent, a.Read = x.status, true, x.read
	a.RequestID, a.RetryAfter = x.requestID, x.retryAfter
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

func (x *exchange) classify() Answer {
	success := x.status >= 200 && x.status <= 299
	switch {
	case success && !x.body.readable:
		// Empty, truncated, too large, or no JSON object. The money may have moved;
		// a retry under the same key shows it.
		return Answer{Meaning: Retry, Cause: CauseUnreadable}
	case success && x.body.isProblem():
		return x.problemIn2xx()
	case success:
		return x.paymentAnswer()
	case x.status == http.StatusPaymentRequired:
		return x.answer402()
	}
	return x.errorAnswer(x.status)
}

// problemIn2xx classifies an error under a 2xx status by the status inside: the
// Portuguese page of capture-payment-returns shows HTTP 201 with
// "status":"401" where the others show 401.
func (x *exchange) problemIn2xx() Answer {
	if len(x.body.Payments) > 0 { // an error, and payments that may be money taken
		return x.contradicted("it has a numeric status and payments in one")
	}
	inner := x.body.httpStatus()
	if inner == 0 { // an error that names no HTTP error, under a status of success
		return Answer{Meaning: Retry, Cause: CauseUnreadable}
	}
	return x.errorAnswer(inner)
}

// paymentAnswer classifies an answer with a payment.
func (x *exchange) paymentAnswer() Answer {
	b := &x.body
	a := Answer{Payment: x.payment()}
	if a.Payment == nil {
		// A JSON object with neither id nor payments. There is nothing to read it
		// by, so its status is not trusted either.
		a = x.unknownStatus(a)
		a.Detail = fmt.Sprintf("HTTP %d without a payment (status %q)", x.status, b.Status)
		return a
	}
	if why := x.contradiction(); why != "" {
		return x.contradicted(why)
	}
	if x.status != http.StatusCreated && x.status != http.StatusOK {
		// Only 201 and 200 are documented. 202 would mean that it is not done.
		return x.unknownStatus(a)
	}
	switch b.Status {
	case "approved":
		for _, c := range b.Payments {
			if c.Status == "approved" && c.Detail == "partially_refunded" {
				return unexpectedStatus(a) // paid, and part of it returned
			}
		}
		a.Meaning, a.Cause = Captured, CauseApproved
		return a
	case "rejected":
		return x.rejected(a)
	case "pending", "in_process":
		// Another charge would ask for the key, not for the payment, so the payment
		// is read by its id; without an id only the key is left.
		a.Meaning, a.Cause = Poll, CauseInProcess
		if b.ID == "" {
			a.Meaning = Wait
		}
		return a
	case "authorized", // reserved only; this service never sends capture:false
		"refunded", "partially_refunded", "charged_back", "in_mediation", // money moved and came back elsewhere
		"cancelled", "canceled": // the documents have date_cancelled and date_canceled
		return unexpectedStatus(a)
	}
	return x.unknownStatus(a)
}

func unexpectedStatus(a Answer) Answer {
	a.Meaning, a.Cause, a.ParkReason = Park, CauseUnexpectedStatus, event.ParkUnexpectedStatus
	return a
}

// rejected classifies a rejected payment: the detail of the last rejected child is
// the reason. No page shows a rejection that is returned again under its key
// (HTTP 200); it means the same.
func (x *exchange) rejected(a Answer) Answer {
	a.Meaning, a.Cause, a.Reason = Rejected, CauseDeclined, reasonUnspecified
	for _, c := range x.body.Payments {
		if c.Status == "rejected" {
			a.Reason = cmp.Or(c.Detail, reasonUnspecified)
		}
	}
	return a
}

// unknownStatus classifies a payment whose status is not documented or missing: it
// is read by its id once and parked if that shows no more.
func (x *exchange) unknownStatus(a Answer) Answer {
	a.Meaning, a.Cause, a.ParkReason = Poll, CauseUnknownStatus, event.ParkUnexpectedStatus
	if x.read || x.body.ID == "" {
		a.Meaning = Park
	}
	return a
}

func (x *exchange) contradicted(why string) Answer {
	return Answer{
		Meaning: Park, Cause: CauseContradiction, ParkReason: event.ParkContradictory, Payment: x.payment(),
		Detail: fmt.Sprintf("HTTP %d, payment %s contradicts: %s", x.status, orNone(string(x.body.ID)), why),
	}
}

// answer402 classifies HTTP 402. An SDK's comment calls it a processing error; no
// page shows it for wallets, so only a payment that is rejected is trusted.
func (x *exchange) answer402() Answer {
	if !x.body.readable || x.body.isProblem() || x.body.Status != "rejected" || x.payment() == nil {
		return Answer{Meaning: Retry, Cause: CauseServerError}
	}
	if why := x.contradiction(); why != "" {
		return x.contradicted(why)
	}
	return x.rejected(Answer{Payment: x.payment()})
}

// describe returns the answer in one line for an operator.
func (x *exchange) describe() string {
	line := "HTTP " + strconv.Itoa(x.status)
	b := &x.body
	switch {
	case b.readable && (b.isProblem() || b.problem.message != ""):
		if said := b.problem.line(); said != "" {
			line += ": " + said
		}
		if b.Status != "" && b.httpStatus() != x.status {
			line += fmt.Sprintf(" [status %q in the body]", b.Status)
		}
	case b.readable:
		line += ", payment " + orNone(string(b.ID)) + ": " + orNone(b.Status)
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

func orNone(text string) string { return cmp.Or(text, "(none)") }
