package mercadopago

import "strconv"

// Cause is why the API answered as it did. Together with [Meaning] it is all
// that other packages need to know of an answer. The list is closed.
//
// Each cause names the answers that have it and the pages of Mercado Pago's
// documentation that show them. "Undocumented" marks what no page documents for
// this endpoint. The constants are the decision table; decide.go and
// decide_errors.go implement it in the order in which the checks apply.
type Cause uint8

const (
	// CauseNone means: no call was made, because the request cannot be sent.
	CauseNone Cause = iota

	// CauseApproved means that the payment is approved (page
	// wallet-connect/capture-payment-returns). HTTP 200 instead of 201 means
	// that the API knew the key and returns the stored payment (page
	// wallet-connect/idempotency-returns).
	CauseApproved
	// CauseDeclined means that the payment is rejected (page
	// wallet-connect/capture-payment-returns), also under HTTP 402.
	CauseDeclined
	// CauseInProcess means that the payment is pending or in_process. binary_mode rules
	// this out (page advanced-payments/status-map), yet the reference lists
	// in_process.
	CauseInProcess
	// CauseUnexpectedStatus means that the payment is authorized, refunded, partially
	// refunded, charged back, in mediation or cancelled (page
	// advanced-payments/status-map). This service never brings one about.
	CauseUnexpectedStatus
	// CauseContradiction means that the answer contradicts itself or the request, such as
	// another amount or reference (undocumented).
	CauseContradiction
	// CauseUnknownStatus means that the status of the payment is missing or not documented,
	// or the answer has no payment. The documented sample of a read has no status
	// (page wallet-connect/get-payment-information).
	CauseUnknownStatus
	// CauseUnreadable means HTTP 2xx with a body that cannot be read (undocumented). The
	// money may have moved.
	CauseUnreadable

	// CausePayer means that the payer or the payer token is refused: 401003 (page
	// wallet-connect/capture-payment-returns; the buyer cancelled the agreement),
	// 404003 and 400036 (reference of advanced_payments).
	CausePayer
	// CauseRequest means that the API finds fault with the request: HTTP 400 with any other
	// code or none, 404002, and each 4xx that is not listed here.
	CauseRequest
	// CauseRequestTooLarge means HTTP 413, 414 or 431 (undocumented).
	CauseRequestTooLarge
	// CauseDuplicateReference means 400057, collector and reference exist already
	// (reference of advanced_payments). A payment may exist.
	CauseDuplicateReference

	// CauseKeyBusy means that the first call under the key has not completed: 409 with
	// 401001 (page wallet-connect/idempotency-returns), or 423 (Orders errors).
	CauseKeyBusy
	// CauseKeyUsed means that the key was used with another body, or its first call failed
	// half-way: 422 with 422001 (page wallet-connect/idempotency-returns), or 409
	// idempotency_key_already_used (Orders errors, whose advice to take a new key
	// could charge twice).
	CauseKeyUsed

	// CauseKeyHeader means that the idempotency key header is refused: 400058 (reference of
	// advanced_payments), or a missing header (reference of wallet_connect).
	CauseKeyHeader
	// CauseCredential means that the access token is refused: 401 with any cause that does
	// not name the payer (reference of advanced_payments).
	CauseCredential
	// CauseAccount means that the account, application or seller may not charge: 403, 404
	// with a whitelist or merchant list text (page
	// wallet-connect/get-payment-information-returns), 400004, 400005, 400032,
	// 400037, 400045, 400054 (reference of advanced_payments).
	CauseAccount
	// CauseAddress means that the address takes no captures: 3xx, 404 without a cause, 405,
	// 411, 415, 501, 505 (undocumented).
	CauseAddress
	// CauseProxy means that the proxy refuses its credential: HTTP 407.
	CauseProxy

	// CauseRateLimit means HTTP 429 (OpenAPI component TooManyRequests). The edge of
	// the host answers it without looking at the access token.
	CauseRateLimit
	// CauseServerError means 5xx, 402 without a rejected payment, 406, 408, 421, 424 and
	// 425. The SDKs retry 500, 502, 503 and 504.
	CauseServerError
	// CauseNotSent means that the call failed before a byte of the request was written.
	CauseNotSent
	// CauseNoAnswer means that the call failed later, without a complete answer. The same key
	// marks the same process (page wallet-connect/idempotency).
	CauseNoAnswer
)

// String returns the cause's name in snake case, as used in logs, metrics and
// /status.
func (c Cause) String() string {
	names := [...]string{
		CauseNone:     "none",
		CauseApproved: "approved", CauseDeclined: "declined", CauseInProcess: "in_process",
		CauseUnexpectedStatus: "unexpected_status", CauseContradiction: "contradiction",
		CauseUnknownStatus: "unknown_status", CauseUnreadable: "unreadable",
		CausePayer: "payer", CauseRequest: "request", CauseRequestTooLarge: "request_too_large",
		CauseDuplicateReference: "duplicate_reference",
		CauseKeyBusy:            "key_busy", CauseKeyUsed: "key_used",
		CauseKeyHeader: "idempotency_header", CauseCredential: "credential", CauseAccount: "account",
		CauseAddress: "address", CauseProxy: "proxy",
		CauseRateLimit: "rate_limit", CauseServerError: "server_error",
		CauseNotSent: "not_sent", CauseNoAnswer: "no_answer",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return "cause(" + strconv.Itoa(int(c)) + ")"
}

// OurFault reports whether the cause is our own credential or configuration, so
// that it concerns every event.
func (c Cause) OurFault() bool { return c >= CauseKeyHeader && c <= CauseProxy }

// RefusesToken reports whether the cause is a credential that every call needs,
// reads included.
func (c Cause) RefusesToken() bool { return c == CauseCredential || c == CauseProxy }
