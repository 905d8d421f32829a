package mercadopago

// Cause is what an answer finds fault with. It is set where the fault may be
// ours, and concern every event, instead of this event's own. The list is
// closed.
type Cause uint8

// The causes.
const (
	CauseNone          Cause = iota
	CausePayer               // the payer, or the payer's token, is refused (rows 13 to 16)
	CauseRequest             // the API finds fault with the request (rows 17 to 20 and 39)
	CauseContradiction       // the payment is not what was asked for (row 9)
	CauseCredential          // the access token is refused (row 27)
	CauseAccount             // the account, application or seller may not charge (rows 28 to 30)
	CauseAddress             // the address takes no captures (rows 29 and 31)
	CauseKeyHeader           // the idempotency key header is refused (row 26)
	CauseProxy               // the proxy refuses its credential (HTTP 407)
)

// causeOf returns the cause of an answer that is not a Halt; [exchange.halt]
// sets that of a Halt.
func causeOf(row int) Cause {
	switch {
	case row == rowContradicted:
		return CauseContradiction
	case 13 <= row && row <= 16:
		return CausePayer
	case 17 <= row && row <= 20, row == 39:
		return CauseRequest
	}
	return CauseNone
}

// fromAPI reports whether the body is an error in the API's JSON. A firewall's
// page, an empty body and JSON without an error, code, cause or numeric status
// are not.
func (x *exchange) fromAPI() bool { return x.body.readable && x.body.isProblem() }

// credentialCode reports whether the error has a code of row 27: 401000 and 401002
// from the reference, 5 from sdk-php issue 118, 7 from sdk-nodejs issue 161.
func (p *problem) credentialCode() bool { return p.anyCode("401000", "401002", "5", "7") }

// namesCredential reports whether an error with status 401 says that the access
// token is at fault: by a code of row 27, or by a text that names the token, as
// the edge of the host has it. Beside 401003 a text decides nothing.
func (x *exchange) namesCredential() bool {
	p := &x.body.problem
	return p.credentialCode() ||
		!p.anyCode("401003") && (p.mentions("access token") || p.mentions("access_token") || p.mentions("live credentials"))
}
