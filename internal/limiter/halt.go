package limiter

import (
	"container/list"
	"time"

	"payment-capture/internal/mercadopago"
)

const (
	// While halted, one event at a time is called for, after a wait that doubles
	// between these two; at once if the access token has changed, and after the
	// shorter wait if an event came since the last probe of which nothing is known,
	// or if one waits and may show that the halt comes from single events.
	firstProbe = time.Second
	lastProbe  = 30 * time.Second
	// chargingProbe is the wait if a probe may take money, and wrongly.
	chargingProbe = 5 * time.Minute
	// tokenCheck is how often a waiting event checks whether the token changed.
	tokenCheck = time.Second
	// unansweredProbes consecutive probes that the API did not answer, or not with
	// anything that shows its cause, end a halt: then the circuit breaker takes
	// over, and the next refusal halts again. Otherwise a single waiting event for
	// which the API always fails would keep the service halted.
	unansweredProbes = 5
)

// Causes of a halt that more than one answer leads to. Those of a single answer
// are the [mercadopago.Cause] values that are our fault. Metrics and /status show
// both; the list is closed.
const (
	causePayers         = "payers_refused"
	causeRequests       = "requests_refused"
	causeContradictions = "answers_contradict" // payments differ from what was asked for
)

// haltCauses returns all causes of a halt.
func haltCauses() []string {
	return []string{
		mercadopago.CauseCredential.String(), mercadopago.CauseAccount.String(), mercadopago.CauseAddress.String(),
		mercadopago.CauseKeyHeader.String(), mercadopago.CauseProxy.String(), causePayers, causeRequests, causeContradictions,
	}
}

// halt is why no event at all can be captured until the credential or the
// configuration is fixed.
type halt struct {
	cause     string
	reason    string // what is wrong and how to fix it
	requestID string
	single    bool // one answer was enough, and one may end it
	token     bool // the token is refused, for reads too

	credential uint64 // the number of the token that was refused
	probing    bool
	newest     bool // the next probe is of the newest event, else of the oldest
	unanswered int  // consecutive probes without an answer that shows the cause
	probedAt   time.Time
	probeAt    time.Time
	wait       time.Duration // between the two
}

// probeIn returns the time until an event may probe, at most tokenCheck, because a
// new token may be probed at once.
func (h *halt) probeIn(credential uint64) time.Duration {
	if h.probing || credential != h.credential {
		return 0
	}
	return max(0, min(time.Until(h.probeAt), tokenCheck))
}

// haltLocked halts the service, or updates the reason if it is halted.
func (l *Limiter) haltLocked(found *halt, credential uint64) {
	if h := l.halt; h != nil {
		h.cause, h.reason, h.requestID, h.single, h.token = found.cause, found.reason, found.requestID, found.single, found.token
		return
	}
	found.credential, found.wait, found.newest = credential, firstProbe, true
	if found.cause == causeContradictions {
		found.wait = chargingProbe
	}
	found.probedAt = time.Now()
	found.probeAt = found.probedAt.Add(found.wait)
	l.halt = found
	l.halts++
}

// probeSoon brings the next probe forward because an event came of which nothing
// is known: it may be the one that ends the halt. An event that is evidence does
// not, so that many refused ones do not keep the probes frequent.
func (h *halt) probeSoon() {
	soon := h.probedAt.Add(firstProbe)
	if h.cause == causeContradictions || !soon.Before(h.probeAt) {
		return
	}
	h.probeAt, h.newest = soon, true
}

// proberLocked returns whose call probes the halt: of the charges the newest or the
// oldest, in turn, of those whose payer and order are no evidence; if all are, the
// one that has waited longest since its last call; and a read if there is no charge.
func (l *Limiter) proberLocked() *waiter {
	first, next := l.charges.waiters.Front, (*list.Element).Next
	if l.halt.newest {
		first, next = l.charges.waiters.Back, (*list.Element).Prev
	}
	for place := first(); place != nil; place = next(place) {
		if w := waiterAt(place); !l.detector.counted(w.about) {
			return w
		}
	}
	if head := l.charges.head(); head != nil {
		return head
	}
	return l.reads.head()
}

// refusedLocked returns how many waiters are evidence for the halt that they wait
// for. While it lasts, one gets a permit only if no
// other event waits.
func (l *Limiter) refusedLocked() (n int) {
	if l.halt == nil {
		return 0
	}
	for place := l.charges.waiters.Front(); place != nil; place = place.Next() {
		if l.detector.counted(waiterAt(place).about) {
			n++
		}
	}
	return n
}

// paymentLocked draws the conclusion of a payment, taken or declined: it clears the
// evidence and ends the halt. After a single answer that halted, only a payment
// whose call began later does, because the token may have been revoked between the
// two. Any payment ends a halt by many refusals.
func (l *Limiter) paymentLocked(p *Permit) {
	if p.credential != l.detector.credential {
		return // it shows nothing of the token that is in use now
	}
	later := p.halts == l.halts
	l.detector.clear(p.about, later)
	if l.halt != nil && (later || !l.halt.single) {
		l.halt = nil
	}
}

// probedLocked draws the conclusion of a probe that is no payment. A halt by a
// single answer ends with an answer that the API sends only to a caller whom it
// knows; a read shows only that the token is accepted again.
func (l *Limiter) probedLocked(p *Permit) {
	h, r := p.halt, p.result
	h.probing = false
	if l.halt != h {
		return // a payment has ended it
	}
	unanswered := r.Meaning == mercadopago.Retry || r.Cause == mercadopago.CauseRateLimit || !r.Sent || (p.read && !h.token)
	if h.unanswered++; !unanswered {
		h.unanswered = 0
	}
	switch {
	case h.single && !unanswered && r.Meaning != mercadopago.Halt:
		l.halt = nil
		return
	case h.unanswered >= unansweredProbes:
		l.halt = nil
		l.detector.restart()
		return
	}
	h.credential = p.credential
	h.probedAt = time.Now()
	if w := l.proberLocked(); h.eager() && w != nil && !l.detector.counted(w.about) {
		h.probeAt = h.probedAt.Add(firstProbe)
		return
	}
	h.wait = max(h.wait, min(2*h.wait, lastProbe))
	h.probeAt = h.probedAt.Add(h.wait)
}

// eager reports whether the probes stay frequent while an event waits that is no
// evidence: the halt may come from single payers or orders, and that event may end it.
func (h *halt) eager() bool {
	return h.cause == causePayers || h.cause == causeRequests || accountOrAddress(h.cause)
}

// accountOrAddress reports whether a cause concerns our account or address, or a policy
// of the API that refuses one order.
func accountOrAddress(cause string) bool {
	return cause == mercadopago.CauseAccount.String() || cause == mercadopago.CauseAddress.String()
}
