package capture

import (
	"container/list"
	"time"

	"payment-capture/internal/mercadopago"
)

const (
	// While halted, one event at a time is tried, after a wait that doubles
	// between these two; at once when the access token has changed, and after the
	// shorter wait when an event came since the last probe of which nothing is
	// known.
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
	causeProxy      = "proxy"              // the proxy refuses its credential
	causePayers     = "payers_refused"     // a run of refused payers
	causeRequests   = "requests_refused"   // a run of refused requests
	// causeContradictions is a run of payments that are not what was asked for.
	causeContradictions = "answers_contradict"
)

// haltCauses lists them.
func haltCauses() []string {
	return []string{causeCredential, causeAccount, causeAddress, causeKeyHeader, causeProxy, causePayers, causeRequests, causeContradictions}
}

// halt says that no event at all can be captured until somebody mends the
// credential or the configuration.
type halt struct {
	cause     string
	reason    string // what is wrong and what to do
	requestID string
	since     time.Time
	single    bool // one answer was enough, and one may end it

	credential uint64 // the token's number that was refused
	probing    bool
	newest     bool // the next probe is of the newest event, else of the oldest
	unclear    int  // probes in a row that did not tell
	probedAt   time.Time
	probeAt    time.Time
	wait       time.Duration // between the two
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
		g.halt.cause, g.halt.reason, g.halt.requestID, g.halt.single = found.cause, found.reason, found.requestID, found.single
		return
	}
	found.since, found.credential, found.wait, found.newest = time.Now(), credential, firstProbe, true
	if found.cause == causeContradictions {
		found.wait = chargingProbe
	}
	found.probedAt, found.probeAt = found.since, found.since.Add(found.wait)
	g.halt = found
	g.halts++
}

// hurry brings the next probe forward because an event came that nothing is known
// of: it may be the one that shows that all is well. An event that was counted as
// evidence does so no more, so that many wrong ones do not keep the probes
// frequent.
func (h *halt) hurry() {
	soon := h.probedAt.Add(firstProbe)
	if h.cause == causeContradictions || !soon.Before(h.probeAt) {
		return
	}
	h.probeAt, h.newest = soon, true
}

// prober returns whose call is to try whether the halt is over: of the charges the
// newest or the oldest, in turn, of those whose payer and order were not counted
// as evidence; if all were, the one that has waited longest since its last call; and
// a read if there is no charge. The caller holds the lock.
func (g *gate) prober() *waiter {
	first, next := g.charges.waiters.Front, (*list.Element).Next
	if g.halt.newest {
		first, next = g.charges.waiters.Back, (*list.Element).Prev
	}
	for place := first(); place != nil; place = next(place) {
		if w := waiterAt(place); !g.detector.counted(w.about) {
			return w
		}
	}
	if head := g.charges.head(); head != nil {
		return head
	}
	return g.reads.head()
}

// refused returns how many wait for the end of the halt that were counted as
// evidence. They hardly come to a call while it lasts. The caller holds the lock.
func (g *gate) refused() (n int) {
	if g.halt == nil {
		return 0
	}
	for place := g.charges.waiters.Front(); place != nil; place = place.Next() {
		if g.detector.counted(waiterAt(place).about) {
			n++
		}
	}
	return n
}

// paid draws the conclusion of a payment, taken or declined: it clears the evidence
// and ends the halt. If a single answer halted, the payment's call has to have begun
// after that answer: the token may have been revoked between the two. Many refusals
// are ended by any payment.
func (g *gate) paid(p pass, about subject) {
	if p.credential != g.detector.credential {
		return // it says nothing of the token that is in use now
	}
	after := p.halts == g.halts
	g.detector.clear(about, after)
	if g.halt != nil && (after || !g.halt.single) {
		g.halt = nil
	}
}

// probed draws the conclusion of a probe that is no payment. A halt by a single
// answer ends with an answer that the API gives only to those whom it knows; of
// reads only that the token is good again.
func (g *gate) probed(p pass, a mercadopago.Answer) {
	h := p.halt
	h.probing = false
	if g.halt != h {
		return // a payment has ended it
	}
	unclear := a.Meaning == mercadopago.Retry || a.Cause == mercadopago.CauseRateLimit || !a.Sent || (a.Read && h.cause != causeCredential && h.cause != causeProxy)
	if h.unclear++; !unclear {
		h.unclear = 0
	}
	switch {
	case h.single && !unclear && a.Meaning != mercadopago.Halt:
		g.halt = nil
		return
	case h.unclear >= unclearProbes:
		g.halt = nil
		g.detector.goOn()
		return
	}
	h.credential = p.credential
	h.wait = max(h.wait, min(2*h.wait, lastProbe))
	h.probedAt = time.Now()
	h.probeAt = h.probedAt.Add(h.wait)
}
