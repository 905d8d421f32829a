package mercadopago

import (
	"fmt"
	"net/http"

	"payment-capture/internal/event"
)

// errorAnswer judges an error by its effective status: first by status and
// cause, then by status and word, then by status alone (§1g, step 6). Causes
// that name our wiring come before those that name the order: an answer with
// both is not this order's fault.
func (x *exchange) errorAnswer(status int) Answer {
	a, ok := x.keyError(status) // 1c
	if !ok {
		a, ok = x.credentialError(status) // 1d
	}
	if !ok {
		a, ok = x.orderError(status) // 1b
	}
	if !ok {
		a, ok = x.transientError(status) // 1e
	}
	if !ok {
		a = x.statusAlone(status)
	}
	return x.believed(a, status)
}

// believed takes back what an error may not say. A rejection needs an answer
// that is of one mind: a status in the body that is another than the HTTP one,
// or payments beside the error, could be money taken. And an error to a read
// says nothing about the payment, so it only means that it is not read yet.
func (x *exchange) believed(a Answer, status int) Answer {
	b := &x.body
	ofOneMind := len(b.children) == 0 && (b.status == "" || b.httpStatus() == status)
	if a.Meaning == Rejected && !ofOneMind {
		a.Meaning, a.Reason, a.ParkReason = Park, "", event.ParkContradictory
	}
	if x.read && (a.Meaning == Rejected || a.Meaning == Park) {
		a.Meaning, a.Reason, a.ParkReason = Poll, "", event.ParkUndecided
	}
	return a
}

// keyError is section 1c, rows 21-26: the idempotency key.
func (x *exchange) keyError(status int) (Answer, bool) {
	p := &x.body.problem
	switch {
	case p.word("idempotency_key_already_used") && status == http.StatusConflict:
		// Row 23: on the Orders error list, whose advice to take a new key could
		// charge twice.
		return Answer{Meaning: Park, Row: 23, ParkReason: event.ParkKeyUsed}, true
	case status == http.StatusConflict:
		// Row 21: 401001, "has not been completed yet". The prose of
		// idempotency-returns covers "already paid" too, so a lasting one may
		// mean captured, and never rejected.
		return Answer{Meaning: Wait, Row: 21}, true
	case status == http.StatusUnprocessableEntity:
		// Row 22: 422001, "Idempotency key already used": with another body, or
		// the first try failed half-way. idempotency-returns knows no other 422.
		return Answer{Meaning: Park, Row: 22, ParkReason: event.ParkKeyUsed}, true
	case status == http.StatusLocked:
		// Row 24: resource_locked on the Orders list; SDKs call it retryable.
		return Answer{Meaning: Wait, Row: 24}, true
	case status >= 500 && p.word("idempotency_validation_failed"):
		// Row 25: the Orders list again advises a new key, unsafe for a charge.
		return Answer{Meaning: Retry, Row: 25}, true
	case status == http.StatusBadRequest && (p.anyCode("400058", "4292") ||
		p.word("empty_required_header", "invalid_idempotency_key_length") ||
		p.mentions("missing header parameter") || p.mentions("x-idempotency-key")):
		// Row 26: 400058 from the reference of advanced_payments, the missing
		// header from that of wallet_connect, 4292 "Header X-Idempotency-Key
		// can't be null" from integrators. As we send it, so for every order.
		return x.halt(CauseKeyHeader, 26, "the API refuses the idempotency key header",
			"look for a proxy that drops X-Idempotency-Key, and at the event ids"), true
	}
	return Answer{}, false
}

// credentialError is section 1d, rows 27-31: our credential or configuration,
// as far as a cause, a text or the status itself names it.
func (x *exchange) credentialError(status int) (Answer, bool) {
	p := &x.body.problem
	switch {
	case status == http.StatusUnauthorized && p.credentialCode():
		return x.badToken(), true // row 27
	case status == http.StatusProxyAuthRequired:
		return x.badProxy(), true
	case status == http.StatusForbidden:
		// Row 28: PolicyAgent, or an empty body (odoo issue 152102): the account
		// or application is blocked.
		return x.halt(CauseAccount, 28, "the account or application may not charge",
			"look at the application and its credentials in the developer panel"), true
	case status == http.StatusNotFound && (p.mentions("client id not found in whitelist") ||
		p.mentions("collector_id not found in the merchant list")):
		// Row 29: get-payment-information-returns.
		return x.halt(CauseAccount, 29, "the application or seller is not enabled for Wallet Connect",
			"ask Mercado Pago to enable it"), true
	case status == http.StatusBadRequest && p.anyCode("400004", "400005"):
		// Row 30: application invalid, application required.
		return x.halt(CauseAccount, 30, "the API refuses the application", "check which application the access token is of"), true
	case status == http.StatusBadRequest && p.anyCode("400032", "400037", "400045", "400054"):
		// Row 30: collector invalid, or no permission over it.
		return x.halt(CauseAccount, 30, "the API refuses the collector", "check which seller the access token is of"), true
	case status == http.StatusRequestEntityTooLarge || status == http.StatusRequestURITooLong ||
		status == http.StatusRequestHeaderFieldsTooLarge:
		// Row 31, but what is too large is this event's, so it alone waits.
		return Answer{Meaning: Park, Row: 31, ParkReason: event.ParkRefusedRequest}, true
	case status >= 300 && status <= 399, status == http.StatusMethodNotAllowed, status == http.StatusLengthRequired,
		status == http.StatusUnsupportedMediaType, status == http.StatusNotImplemented,
		status == http.StatusHTTPVersionNotSupported:
		// Row 31: a redirect is never followed with a charge.
		return x.halt(CauseAddress, 31, "the address does not take captures", "check MERCADOPAGO_URL and proxies"), true
	}
	return Answer{}, false
}

// orderError is section 1b, rows 13-20, as far as a cause or a text names what
// is wrong with this payer or this order.
func (x *exchange) orderError(status int) (Answer, bool) {
	p := &x.body.problem
	switch {
	case status == http.StatusUnauthorized && (p.onlyCode("401003") || (len(p.codes) == 0 && p.says("invalid payer token"))):
		// Row 13: the buyer cancelled the agreement. capture-payment-returns says
		// HTTP 401 in English and Spanish, 201 in Portuguese.
		return Answer{Meaning: Rejected, Row: 13, Reason: reasonPayerToken}, true
	case status == http.StatusBadRequest && len(p.codes) == 0 && p.says("invalid payer token"):
		// Row 14: documented for coupons (coupon-validation-responses).
		return Answer{Meaning: Rejected, Row: 14, Reason: reasonPayerToken}, true
	case status == http.StatusNotFound && p.onlyCode("404003"):
		// Row 15: payer not found, reference of advanced_payments.
		return Answer{Meaning: Rejected, Row: 15, Reason: reasonPayerNotFound}, true
	case status == http.StatusBadRequest && p.onlyCode("400036"):
		// Row 16: no permission over the payer, same page.
		return Answer{Meaning: Rejected, Row: 16, Reason: reasonPayerPermission}, true
	case status == http.StatusBadRequest && p.anyCode("400057"):
		// Row 19: collector and reference duplicated: a payment under this
		// reference may exist.
		return Answer{Meaning: Park, Row: 19, ParkReason: event.ParkDuplicateRefer}, true
	case status == http.StatusBadRequest && p.anyCode("400136"):
		// Row 17: process-payments-with-discounts. We send no discount.
		return Answer{Meaning: Park, Row: 17, ParkReason: event.ParkRefusedRequest}, true
	case status == http.StatusNotFound && (p.anyCode("404002") || p.says("advanced payment not found")):
		// Row 20: documented for reads and refunds; to a charge it is a riddle.
		return Answer{Meaning: Park, Row: 20, ParkReason: event.ParkRefusedRequest}, true
	}
	return Answer{}, false
}

// transientError is section 1e, rows 34-38, and what row 12 leaves over.
func (x *exchange) transientError(status int) (Answer, bool) {
	switch {
	case status == http.StatusPaymentRequired:
		// Row 12 without a payment that says rejected.
		return Answer{Meaning: Retry, Row: 12}, true
	case status == http.StatusNotAcceptable:
		// Row 34: 406001, "Error in the payments API", in no SDK's retry list.
		return Answer{Meaning: Retry, Row: 34}, true
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusMisdirectedRequest:
		// Row 35. 421 says that this connection does not lead to the host of the
		// request (RFC 9110, section 15.5.20); the client makes another one.
		return Answer{Meaning: Retry, Row: 35}, true
	case status == http.StatusFailedDependency:
		// Row 36: SDKs comment "internal dependency failure (retryable)".
		return Answer{Meaning: Retry, Row: 36}, true
	case status == http.StatusTooManyRequests:
		// Row 37: OpenAPI component TooManyRequests; plain text from the edge.
		return Answer{Meaning: Wait, Row: 37}, true
	case status >= 500 || status < 200:
		// Row 38. A 1xx that ends an exchange, or one over 599, is no HTTP.
		return Answer{Meaning: Retry, Row: 38}, true
	}
	return Answer{}, false
}

// statusAlone takes the 4xx that no cause explains.
func (x *exchange) statusAlone(status int) Answer {
	p := &x.body.problem
	switch {
	case status == http.StatusUnauthorized:
		return x.badToken() // row 27: no cause that names the payer
	case status == http.StatusNotFound && len(p.codes) == 0 && !x.read:
		// Row 29: no JSON of this API's, or a 404 that names no cause. A capture
		// goes to one fixed path, so it is the address that is not there; a read
		// names a payment, which may just not be found yet.
		return x.halt(CauseAddress, 29, "the API does not know the address or the application", "check MERCADOPAGO_URL and the application")
	case status == http.StatusBadRequest:
		// Row 18: 400017, 400018, 400021 amount; 400029 token; 400039, 400053
		// request; 400046, 400055 reference; any other cause, or none.
		return Answer{Meaning: Park, Row: 18, ParkReason: event.ParkRefusedRequest}
	}
	return Answer{Meaning: Park, Row: 39, ParkReason: event.ParkRefusedRequest}
}

func (x *exchange) badToken() Answer {
	return x.halt(CauseCredential, rowCredential, "the API refuses the access token", "check MERCADOPAGO_ACCESS_TOKEN")
}

// badProxy judges 407: the proxy between us and the API wants a credential, and
// the API saw nothing. That is never an order's fault.
func (x *exchange) badProxy() Answer {
	return x.halt(CauseProxy, 31, "the proxy refuses its credential", proxyRemedy)
}

const proxyRemedy = "check the user and password in HTTPS_PROXY or HTTP_PROXY"

// halt judges an answer that may concern every event. Where it comes in words
// that are not the API's, it may concern this event alone, so it is not certain:
// 401 is so when no cause names the access token, all else when the body is no
// error of the API. A proxy answers 407 in its own words, and for all events.
func (x *exchange) halt(cause Cause, row int, what, remedy string) Answer {
	certain := x.fromAPI() || cause == CauseProxy
	if cause == CauseCredential {
		certain = x.namesCredential()
	}
	reason := fmt.Sprintf("%s (%s): %s", what, x.describe(), remedy)
	return Answer{
		Meaning: Halt, Row: row, ParkReason: event.ParkBlocked, Cause: cause, Certain: certain,
		Reason: x.scrub.text(reason, maxDetail),
	}
}
