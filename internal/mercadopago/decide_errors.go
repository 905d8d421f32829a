package mercadopago

import (
	"fmt"
	"net/http"

	"payment-capture/internal/event"
)

// errorAnswer classifies an error by its effective status: first by status and
// code, then by status and text, then by status alone. Causes that name our
// configuration precede those that name the order: an answer with both is not the
// order's fault.
func (x *exchange) errorAnswer(status int) Answer {
	for _, classify := range []func(status int) Answer{x.keyError, x.credentialError, x.orderError, x.transientError} {
		if a := classify(status); a.Meaning != 0 {
			return x.downgrade(a, status)
		}
	}
	return x.downgrade(x.statusAlone(status), status)
}

// downgrade weakens the meaning of an error that proves less than it states. A rejection needs a
// consistent answer: another status in the body than the HTTP one, or payments
// beside the error, could be money taken. And an error to a read says nothing
// about the payment, so it means that the payment is not read yet.
func (x *exchange) downgrade(a Answer, status int) Answer {
	b := &x.body
	consistent := len(b.Payments) == 0 && (b.Status == "" || b.httpStatus() == status)
	if a.Meaning == Rejected && !consistent {
		a.Meaning, a.Reason, a.ParkReason = Park, "", event.ParkContradictory
	}
	if x.read && (a.Meaning == Rejected || a.Meaning == Park) {
		a.Meaning, a.Reason, a.ParkReason = Poll, "", event.ParkUndecided
	}
	return a
}

// keyError classifies errors about the idempotency key.
func (x *exchange) keyError(status int) Answer {
	p := &x.body.problem
	switch {
	case status == http.StatusConflict && p.word("idempotency_key_already_used"),
		// Page idempotency-returns knows no other 422 than 422001.
		status == http.StatusUnprocessableEntity:
		return Answer{Meaning: Park, Cause: CauseKeyUsed, ParkReason: event.ParkKeyUsed}
	case status == http.StatusConflict, // 401001, "has not been completed yet"
		status == http.StatusLocked: // resource_locked; the SDKs call it retryable
		// The prose of idempotency-returns covers "already paid" too, so a lasting 409
		// may mean captured, and never means rejected.
		return Answer{Meaning: Wait, Cause: CauseKeyBusy}
	case status >= 500 && p.word("idempotency_validation_failed"):
		// The Orders errors advise a new key, which is unsafe for a charge.
		return Answer{Meaning: Retry, Cause: CauseServerError}
	case status == http.StatusBadRequest && (p.anyCode("400058", "4292") ||
		p.word("empty_required_header", "invalid_idempotency_key_length") ||
		p.mentions("missing header parameter") || p.mentions("x-idempotency-key")):
		// Integrators report 4292 "Header X-Idempotency-Key can't be null". This
		// service always sends the header, so every order gets the same answer.
		return x.halt(CauseKeyHeader, "the API refuses the idempotency key header",
			"look for a proxy that drops X-Idempotency-Key, and check the event ids")
	}
	return Answer{}
}

// credentialError classifies errors about our credential or configuration, if a
// code, a text or the status itself names them.
func (x *exchange) credentialError(status int) Answer {
	p := &x.body.problem
	switch {
	case status == http.StatusUnauthorized && p.credentialCode():
		return x.badToken()
	case status == http.StatusProxyAuthRequired:
		// The proxy between us and the API wants a credential, and the API saw
		// nothing. That is never an order's fault.
		return x.halt(CauseProxy, "the proxy refuses its credential", proxyRemedy)
	case status == http.StatusForbidden: // PolicyAgent, or an empty body (odoo issue 152102)
		return x.halt(CauseAccount, "the account or application may not charge",
			"check the application and its credentials in the developer panel")
	case status == http.StatusNotFound && (p.mentions("client id not found in whitelist") ||
		p.mentions("collector_id not found in the merchant list")):
		return x.halt(CauseAccount, "the application or seller is not enabled for Wallet Connect",
			"ask Mercado Pago to enable it")
	case status == http.StatusBadRequest && p.applicationCode():
		return x.halt(CauseAccount, "the API refuses the application", "check which application the access token belongs to")
	case status == http.StatusBadRequest && p.collectorCode():
		return x.halt(CauseAccount, "the API refuses the collector", "check which seller the access token belongs to")
	case status == http.StatusRequestEntityTooLarge || status == http.StatusRequestURITooLong ||
		status == http.StatusRequestHeaderFieldsTooLarge:
		return Answer{Meaning: Park, Cause: CauseRequestTooLarge, ParkReason: event.ParkRefusedRequest}
	case status >= 300 && status <= 399, // a redirect is never followed with a charge
		status == http.StatusMethodNotAllowed, status == http.StatusLengthRequired,
		status == http.StatusUnsupportedMediaType, status == http.StatusNotImplemented,
		status == http.StatusHTTPVersionNotSupported:
		return x.halt(CauseAddress, "the address does not take captures", "check MERCADOPAGO_URL and proxies")
	}
	return Answer{}
}

// orderError classifies errors whose code or text names this payer or this order.
func (x *exchange) orderError(status int) Answer {
	p := &x.body.problem
	payerToken := len(p.codes) == 0 && p.says("invalid payer token")
	switch {
	case status == http.StatusUnauthorized && (payerToken || p.onlyCode("401003")),
		// Documented for coupons (page coupon-validation-responses).
		status == http.StatusBadRequest && payerToken:
		return Answer{Meaning: Rejected, Cause: CausePayer, Reason: reasonPayerToken}
	case status == http.StatusNotFound && p.onlyCode("404003"):
		return Answer{Meaning: Rejected, Cause: CausePayer, Reason: reasonPayerNotFound}
	case status == http.StatusBadRequest && p.onlyCode("400036"):
		return Answer{Meaning: Rejected, Cause: CausePayer, Reason: reasonPayerPermission}
	case status == http.StatusBadRequest && p.anyCode("400057"):
		return Answer{Meaning: Park, Cause: CauseDuplicateReference, ParkReason: event.ParkDuplicateRefer}
	case status == http.StatusNotFound && (p.anyCode("404002") || p.says("advanced payment not found")):
		return refusedRequest() // documented for reads and refunds only
	}
	return Answer{}
}

func refusedRequest() Answer {
	return Answer{Meaning: Park, Cause: CauseRequest, ParkReason: event.ParkRefusedRequest}
}

// transientError classifies errors that a retry may outlast.
func (x *exchange) transientError(status int) Answer {
	switch {
	case status == http.StatusTooManyRequests:
		return Answer{Meaning: Wait, Cause: CauseRateLimit}
	case status == http.StatusPaymentRequired, // without a payment that is rejected
		// 406001, "Error in the payments API", is in no SDK's retry list.
		status == http.StatusNotAcceptable,
		status == http.StatusRequestTimeout, status == http.StatusTooEarly,
		// This connection does not lead to the host of the request (RFC 9110,
		// section 15.5.20); the client opens another one.
		status == http.StatusMisdirectedRequest,
		// SDKs comment "internal dependency failure (retryable)".
		status == http.StatusFailedDependency:
		return Answer{Meaning: Retry, Cause: CauseServerError}
	case status >= 500 || status < 200:
		// A 1xx that ends an exchange, or a status over 599, is no HTTP.
		return Answer{Meaning: Retry, Cause: CauseServerError}
	}
	return Answer{}
}

// statusAlone classifies the 4xx that no cause explains.
func (x *exchange) statusAlone(status int) Answer {
	switch {
	case status == http.StatusUnauthorized:
		return x.badToken() // no cause names the payer
	case status == http.StatusNotFound && len(x.body.problem.codes) == 0 && !x.read:
		// Not the API's JSON, or a 404 that names no cause. A capture goes to one
		// fixed path, so the address is wrong; a read names a payment, which may
		// just not be found yet.
		return x.halt(CauseAddress, "the API does not know the address or the application", "check MERCADOPAGO_URL and the application")
	}
	return refusedRequest()
}

func (x *exchange) badToken() Answer {
	return x.halt(CauseCredential, "the API refuses the access token", "check MERCADOPAGO_ACCESS_TOKEN")
}

const proxyRemedy = "check the user and password in HTTPS_PROXY or HTTP_PROXY"

// halt classifies an answer that may concern every event. If the API itself does
// not name the cause, the answer may concern this event alone, so it is not
// certain: a firewall or a gateway answers with a page, an empty body or JSON of its
// own. A proxy answers 407 in its own words, and for all events.
func (x *exchange) halt(cause Cause, what, remedy string) Answer {
	b := &x.body
	var certain bool
	switch cause { //nolint:exhaustive // the others are no halt
	case CauseProxy:
		certain = true
	case CauseCredential:
		certain = x.namesCredential()
	case CauseKeyHeader:
		certain = b.isProblem()
	default:
		certain = b.isAPIError() || b.problem.applicationCode() || b.problem.collectorCode()
	}
	reason := fmt.Sprintf("%s (%s): %s", what, x.describe(), remedy)
	return Answer{
		Meaning: Halt, ParkReason: event.ParkBlocked, Cause: cause, Certain: certain,
		Reason: x.scrub.text(reason, maxDetail),
	}
}

// namesCredential reports whether an error with status 401 blames the access
// token: by its code, or by a text that names the token, as the edge of the host
// has it. Beside 401003 a text decides nothing.
func (x *exchange) namesCredential() bool {
	p := &x.body.problem
	return p.credentialCode() ||
		!p.anyCode("401003") && (p.mentions("access token") || p.mentions("access_token") || p.mentions("live credentials"))
}

// applicationCode and collectorCode report whether the error has a code of the
// reference for an application or a seller that is invalid, missing or not permitted.
func (p *problem) applicationCode() bool { return p.anyCode("400004", "400005") }

func (p *problem) collectorCode() bool { return p.anyCode("400032", "400037", "400045", "400054") }

// credentialCode reports whether the error has a code for a refused access token:
// 401000 and 401002 from the reference, 5 from sdk-php issue 118, 7 from
// sdk-nodejs issue 161.
func (p *problem) credentialCode() bool { return p.anyCode("401000", "401002", "5", "7") }
