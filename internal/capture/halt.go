package capture

import (
	"time"

	"payment-capture/internal/mercadopago"
)

const (
	// While halted, one event at a time is tried, after a wait that doubles
	// between these two; at once when the access token has changed.
	firstProbe = time.Second
	lastProbe  = 30 * time.Second
	// chargingProbe is the wait where a probe may take money, and wrongly.
	chargingProbe = 5 * time.Minute
	// lookEvery is how often a waiting event looks whether the token changed.
	lookEvery = time.Second
	// unclearProbes in a row that the API did not answer, or not with anything
	// that tells, end a halt: then it is the circuit's business, and the next
	// refusal halts anew. Else the only event that waits, and that the API
	// always fails for, would keep the service halted.
	unclearProbes = 5
)

// The causes of a halt, as metrics and /status name them: a closed list.
const (
	causeCredential = "credential"         // the access token is refused
	causeAccount    = "account"            // the account, application or seller may not charge
	causeAddress    = "address"            // the address takes no captures
	causeKeyHeader  = "idempotency_header" // the idempotency key header is refused
	causePayers     = "payers_refused"     // a run of refused payers
	causeRequests   = "requests_refused"   // a run of refused requests
	// causeContradictions is a run of payments that are not what was asked for.
	causeContradictions = "answers_contradict"
)

// haltCauses lists them.
func haltCauses() []string {
	return []string{causeCredential, causeAccount, causeAddress, causeKeyHeader, causePayers, causeRequests, causeContradictions}
}

// halt says that no event at all can be captured until somebody mends the
// credential or the configuration.
type halt struct {
	cause     string
	reason    string // what is wrong and what to do
	requestID string
	since     time.Time

	credential uint64 // the token's number that was refused
	probing    bool
	unclear    int // probes in a row that did not tell
	probeAt    time.Time
	wait       time.Duration // before the next probe
}

// haltOf reads a halt from an answer, nil where it is none. The rows are those
// of the decision table.
func haltOf(a mercadopago.Answer) *halt {
	if a.Meaning != mercadopago.Halt {
		return nil
	}
	h := &halt{cause: causeAddress, reason: a.Reason, requestID: a.RequestID}
	switch a.Row {
	case 26:
		h.cause = causeKeyHeader
	case rowCredential:
		h.cause = causeCredential
	case 28, 29, 30:
		h.cause = causeAccount
	}
	return h
}

// probeIn gives the time until an event may be tried, as far as it makes sense
// to wait: until then the token may change, and then it may be tried at once.
func (h *halt) probeIn(credential uint64) time.Duration {
	if h.probing || credential != h.credential {
		return 0
	}
	return max(0, min(time.Until(h.probeAt), lookEvery))
}

// halted enters the halt, or brings its reason up to date. The caller holds
// the lock.
func (g *gate) halted(found *halt, credential uint64) {
	if g.halt != nil {
		g.halt.cause, g.halt.reason, g.halt.requestID = found.cause, found.reason, found.requestID
		return
	}
	found.since, found.credential, found.wait = time.Now(), credential, firstProbe
	if found.cause == causeContradictions {
		found.wait = chargingProbe
	}
	found.probeAt = found.since.Add(found.wait)
	g.halt = found
}

// probed draws the conclusion of a probe. Only an answer that the API gives to
// those whom it knows ends a halt, a run of refusals only a payment, taken or
// declined; and of reads only that the token is good again.
func (g *gate) probed(p pass, found *halt, a mercadopago.Answer) {
	h := g.halt
	h.probing = false
	unclear := a.Meaning == mercadopago.Retry || a.Row == rowTooManyRequests || !a.Sent || (a.Read && h.cause != causeCredential)
	if h.unclear++; !unclear {
		h.unclear = 0
	}
	mended := found == nil && !unclear && (!h.ofARun() || a.Payment != nil)
	switch {
	case mended:
		g.halt = nil
		g.guard.reset()
		return
	case h.unclear >= unclearProbes:
		g.halt = nil
		g.guard.goOn()
		return
	}
	h.credential = p.credential
	h.wait = max(h.wait, min(2*h.wait, lastProbe))
	h.probeAt = time.Now().Add(h.wait)
}

// ofARun reports whether it is a run of answers that halted, and not one.
func (h *halt) ofARun() bool {
	return h.cause == causePayers || h.cause == causeRequests || h.cause == causeContradictions
}

// Rows of the decision table.
const (
	rowContradictory   = 9  // a payment that is not what was asked for
	rowUnknownStatus   = 10 // a payment whose status is not known, or missing
	rowCredential      = 27 // the access token is refused
	rowTooManyRequests = 37 // answered by the edge, before anybody looks at the token
)
