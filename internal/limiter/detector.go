package limiter

import (
	"crypto/sha256"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"payment-capture/internal/mercadopago"
)

// detector is the misconfiguration detector. It distinguishes a credential or a
// configuration of ours that is wrong from events that are refused for reasons of
// their own.
//
// One mechanism serves every cause: an answer is evidence of its cause, counted
// once for each payer or order that it is about. Enough evidence without a payment
// between halts the service. An answer in which the API itself names the cause is
// enough alone; a refusal that may concern only the payer or the order needs as
// many as CAPTURE_REFUSAL_RUN.
//
// A payment, taken or declined, clears the evidence. From then on answers about the
// same payers and orders are no evidence, until the access token changes: such an
// answer concerns only its event, and decides it. An answer that is counted by order
// is none either if its payer is among those: it follows that payer, whose every order
// would halt the service again. If a payment disproves that the API refuses our account
// or address, one more such answer does not halt for some time: a policy of the API may
// refuse more orders, of other payers.
//
// The Limiter's lock guards all of it.
type detector struct {
	refusals   int // CAPTURE_REFUSAL_RUN; 0: refusals and contradictions are no evidence
	causes     []string
	credential uint64
	series     map[string]*series // by the cause of the halt that they lead to
	cleared    *lru.Cache[evidence, struct{}]
	disproved  map[string]time.Time // when a payment last disproved an answer that was certain of a cause
}

// evidence is one payer or order for which one cause was seen.
type evidence struct{ cause, subject string }

func evidenceOf(cause string, about Subject) evidence {
	if cause == causePayers {
		return payerEvidence(cause, about)
	}
	return evidence{cause, about.Order}
}

func payerEvidence(cause string, about Subject) evidence {
	return evidence{cause, string(about.Payer[:])}
}

// series is the evidence of one cause since the last payment.
type series struct {
	began    time.Time // the first evidence
	last     time.Time // the newest
	subjects map[string]struct{}
	payers   map[string]struct{} // of the subjects that are orders, if the series does not age
	certain  bool                // the API itself named the cause in an answer

	// over is closed when the series has ended: by a payment (proven), or because
	// it shows nothing of single events.
	over   chan struct{}
	ended  bool
	proven bool
}

// Subject is what a call is about.
type Subject struct {
	Order string
	Payer [sha256.Size]byte // a digest of the payer token
}

const (
	// seriesWindow bounds how long refusals count as consecutive: one every few
	// hours is no series.
	seriesWindow = 10 * time.Minute
	// contradictions is how many consecutive contradictory answers halt: each of
	// them may have taken money, in another currency for instance.
	contradictions = 5
	// uncertain is how many consecutive orders have to be answered by a 403, say,
	// that is not the API's, before it is attributed to our account or address: a
	// web firewall that refuses one order answers the same.
	uncertain = 10
	// confirmAfter is how long a refusal stays unconfirmed without a payment that
	// confirms it earlier. Each new evidence of the series restarts it.
	confirmAfter = 5 * time.Second
	// seriesSize bounds the evidence of a series, clearedSize the evidence that is
	// remembered after a payment.
	seriesSize = 1 << 12
	// disprovedFor is how long a disproved cause needs as much evidence as if the
	// answers were not certain.
	disprovedFor = 10 * time.Minute
	clearedSize  = 1 << 14
)

func newDetector(refusals int) detector {
	cleared, err := lru.New[evidence, struct{}](clearedSize)
	if err != nil {
		panic(err) // only a size below one is an error
	}
	return detector{
		refusals: refusals, causes: haltCauses(), series: make(map[string]*series), cleared: cleared,
		disproved: make(map[string]time.Time),
	}
}

// kind is what one answer is evidence of.
type kind struct {
	evidence
	limit   int  // how much evidence halts
	held    bool // below the limit, the answer is unconfirmed
	forever bool // the evidence does not age: only a payment ends the series
}

// kindOf returns what a result is evidence of, if of anything.
func (d *detector) kindOf(p *Permit) (k kind, ok bool) {
	refusal := !p.read && d.refusals > 0
	switch p.result.Cause { //nolint:exhaustive // the others are evidence by their meaning
	case mercadopago.CausePayer:
		return kind{evidenceOf(causePayers, p.about), d.refusals, true, false}, refusal
	case mercadopago.CauseRequest, mercadopago.CauseDuplicateReference:
		return kind{evidenceOf(causeRequests, p.about), d.refusals, true, false}, refusal
	case mercadopago.CauseContradiction:
		// Not held: money may have moved, so an operator should know at once.
		return kind{evidenceOf(causeContradictions, p.about), min(d.refusals, contradictions), false, false}, refusal
	}
	k = kind{evidenceOf(p.result.Cause.String(), p.about), uncertain, false, true}
	if p.result.Certain && !d.doubts(k.cause) {
		k.limit = 1
	}
	return k, p.result.Meaning == mercadopago.Halt
}

// doubts reports whether a payment has disproved a cause recently.
func (d *detector) doubts(cause string) bool {
	at, disproved := d.disproved[cause]
	return disproved && time.Since(at) < disprovedFor
}

// examine counts a result as evidence. It returns what the result is about, and
// the halt that it leads to or continues. A late result is that of a call which began
// before a halt that is over.
func (d *detector) examine(p *Permit, halted *halt, late bool) (Scope, *halt) {
	k, ok := d.kindOf(p)
	switch {
	case !ok:
		return ScopeEvent, nil
	case k.held && (late || p.credential != d.credential):
		return ScopeService, nil // what it was refused for may have been fixed since
	case d.cleared.Contains(k.evidence), k.forever && d.cleared.Contains(payerEvidence(k.cause, p.about)):
		return ScopeEvent, nil
	}
	s := d.series[k.cause]
	if s == nil || (!k.forever && halted == nil && time.Since(s.began) > seriesWindow) {
		s.end(true) // unconfirmed results decide, as they would without a series
		s = &series{began: time.Now(), subjects: make(map[string]struct{}), payers: make(map[string]struct{}), over: make(chan struct{})}
		d.series[k.cause] = s
	}
	if _, counted := s.subjects[k.subject]; !counted && len(s.subjects) < max(seriesSize, k.limit) {
		s.subjects[k.subject], s.last = struct{}{}, time.Now()
		if k.forever {
			s.payers[payerEvidence(k.cause, p.about).subject] = struct{}{}
		}
	}
	s.certain = s.certain || k.limit == 1 && p.result.Certain
	switch {
	case len(s.subjects) >= k.limit, halted != nil && halted.cause == k.cause:
		// The service calls again for unconfirmed events: by the time that the halt
		// ends, the cause may have been fixed.
		s.end(false)
		return ScopeService, &halt{
			cause: k.cause, reason: haltReason(k, p.result.Detail), requestID: p.result.RequestID,
			single: k.limit == 1, token: p.result.Cause.RefusesToken(),
		}
	case k.held:
		if s.ended {
			s.over, s.ended = make(chan struct{}), false
		}
		p.series = s
		return ScopeUnconfirmed, nil
	}
	return ScopeEvent, nil
}

// end ends the series for the unconfirmed results; its evidence stays until it is
// cleared.
func (s *series) end(proven bool) {
	if s == nil || s.ended {
		return
	}
	s.ended, s.proven = true, proven
	close(s.over)
}

// counted reports whether a payer or order is evidence, so that a call for it
// shows less than a call for another one.
func (d *detector) counted(about Subject) bool {
	for _, cause := range d.causes {
		e := evidenceOf(cause, about)
		if s := d.series[cause]; s != nil {
			if _, in := s.subjects[e.subject]; in {
				return true
			}
		}
		if d.cleared.Contains(e) || d.cleared.Contains(payerEvidence(cause, about)) {
			return true
		}
	}
	return false
}

// clear clears the evidence because a payment was made. A payment whose call did
// not begin later than a certain answer does not disprove it.
func (d *detector) clear(paid Subject, later bool) {
	for cause, s := range d.series {
		if s.certain && !later {
			continue
		}
		if accountOrAddress(cause) && (s.certain || d.doubts(cause)) {
			d.disproved[cause] = time.Now()
		}
		for subject := range s.subjects {
			d.cleared.Add(evidence{cause, subject}, struct{}{})
		}
		for payer := range s.payers {
			d.cleared.Add(evidence{cause, payer}, struct{}{})
		}
		s.end(true)
		delete(d.series, cause)
	}
	// A payer who paid is new evidence if refused later.
	for _, cause := range d.causes {
		d.cleared.Remove(evidenceOf(cause, paid))
		d.cleared.Remove(payerEvidence(cause, paid))
	}
}

// setCredential drops all evidence if the access token has changed.
func (d *detector) setCredential(credential uint64) {
	if credential == d.credential {
		return
	}
	d.credential = credential
	for _, s := range d.series {
		s.end(false)
	}
	clear(d.series)
	clear(d.disproved)
	d.cleared.Purge()
}

// shift removes a period in which nobody was answered from each series.
func (d *detector) shift(by time.Duration) {
	for _, s := range d.series {
		s.began, s.last = s.began.Add(by), s.last.Add(by)
	}
}

// restart restarts the window of each series, because no payment has ended it.
func (d *detector) restart() {
	for _, s := range d.series {
		s.began = time.Now()
	}
}

// haltReason returns what is wrong and how to fix it, after the last answer.
func haltReason(k kind, detail string) string {
	const off = "; if the answers are right, raise CAPTURE_REFUSAL_RUN, or set it to 0, and restart the service"
	switch {
	case k.cause == causePayers:
		return fmt.Sprintf("%d consecutive payers were refused (last answer: %s), which is hardly the buyers' doing: "+
			"check whether the access token belongs to the application that these payers agreed to", k.limit, detail) + off
	case k.cause == causeRequests:
		return fmt.Sprintf("the requests of %d consecutive orders were refused (last answer: %s): "+
			"check what changed in the events, and the application of the access token", k.limit, detail) + off
	case k.cause == causeContradictions:
		return fmt.Sprintf("the answers for %d consecutive orders contradict what was asked for (last answer: %s): "+
			"the buyers may have been charged wrongly; check whether CURRENCY is that of the access token's site",
			k.limit, detail) + off
	case k.limit > 1:
		return fmt.Sprintf("%d consecutive orders, without a payment between: %s; also check firewalls and proxies before the API",
			k.limit, detail)
	}
	return detail
}
