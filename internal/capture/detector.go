package capture

import (
	"crypto/sha256"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"payment-capture/internal/mercadopago"
)

// detector is the misconfiguration detector. It tells a credential or a
// configuration of ours that is wrong from events that are refused for reasons
// of their own.
//
// There is one mechanism for every cause: an answer is evidence of its cause,
// counted once for each payer or order that it is about. Enough evidence without
// a payment between halts the service. An answer that names the cause in the
// API's own words is enough by itself; a refusal that may be the buyer's or the
// order's doing takes as many as CAPTURE_REFUSAL_RUN.
//
// A payment, taken or declined, shows that all is well: it clears the evidence.
// What was evidence then never counts again under the same access token, not even
// toward another halt: such an answer is the event's own, and decides it.
//
// The gate's lock guards all of it.
type detector struct {
	refusals   int // CAPTURE_REFUSAL_RUN; 0: refusals and contradictions are no evidence
	credential uint64
	runs       map[string]*run // by the cause of the halt that they lead to
	cleared    *lru.Cache[evidence, struct{}]
}

// evidence is one payer or order for which one cause was seen.
type evidence struct{ cause, subject string }

// run is the evidence of one cause since the last payment.
type run struct {
	since time.Time // the first evidence
	last  time.Time // the newest
	of    map[string]struct{}
	// certain reports that an answer named the cause in the API's words.
	certain bool

	// over is closed when the run has ended: by a payment (proven), or because
	// what it says of single events is void.
	over   chan struct{}
	ended  bool
	proven bool
}

// subject is what an answer is about; the payer is a digest of the token.
type subject struct {
	order string
	payer [sha256.Size]byte
}

const (
	// runWindow bounds how long refusals count as consecutive: one every few hours
	// is no run.
	runWindow = 10 * time.Minute
	// contradictions is how many contradictory answers in a row halt: each of
	// them may have taken money, in another currency for instance.
	contradictions = 5
	// uncertain is how many orders in a row have to be answered by a 403, say, that
	// is not the API's, before it is taken for our account or address: a web
	// firewall that dislikes one order answers the same.
	uncertain = 10
	// confirmAfter is how long a refusal is held before it decides its event, if no
	// payment confirms earlier that the refusal is not our own fault; it begins
	// anew with each new evidence of the run.
	confirmAfter = 5 * time.Second
	// runSize bounds the evidence that a run remembers, and clearedSize what is
	// remembered after a payment.
	runSize     = 1 << 12
	clearedSize = 1 << 14
)

func newDetector(refusals int) detector {
	cleared, err := lru.New[evidence, struct{}](clearedSize)
	if err != nil {
		panic(err) // only a size below one is an error
	}
	return detector{refusals: refusals, runs: make(map[string]*run), cleared: cleared}
}

// bearing is what an answer has to do with the service as a whole.
type bearing uint8

const (
	ofTheEvent   bearing = iota + 1 // nothing: it is judged for its event
	ofTheService                    // it says nothing of the event, which waits at the gate again
	suspect                         // it decides the event unless more such answers come
)

// kind is what one answer is evidence of.
type kind struct {
	evidence
	limit   int  // how much evidence halts
	held    bool // below the limit, the event waits for a payment to confirm the answer
	forever bool // the evidence does not grow old: nothing but a payment ends the run
}

// kindOf returns what an answer is evidence of, if it is.
func (d *detector) kindOf(about subject, a mercadopago.Answer) (k kind, ok bool) {
	refusal := !a.Read && d.refusals > 0
	switch c := a.Cause; {
	case c == mercadopago.CausePayer:
		return kind{evidence{causePayers, string(about.payer[:])}, d.refusals, true, false}, refusal
	case c == mercadopago.CauseRequest || c == mercadopago.CauseDuplicateReference:
		return kind{evidence{causeRequests, about.order}, d.refusals, true, false}, refusal
	case c == mercadopago.CauseContradiction:
		// Not held: money may have moved, so an operator should know at once.
		return kind{evidence{causeContradictions, about.order}, min(d.refusals, contradictions), false, false}, refusal
	}
	k = kind{evidence{a.Cause.String(), about.order}, uncertain, false, true}
	if a.Certain {
		k.limit = 1
	}
	return k, a.Meaning == mercadopago.Halt
}

// judge counts an answer as evidence, and returns what it has to do with the
// service as a whole, and the halt that it leads to or goes on with. credential is
// the number of the token that the call was made with.
func (d *detector) judge(about subject, a mercadopago.Answer, halted *halt, credential uint64) (bearing, *run, *halt) {
	k, ok := d.kindOf(about, a)
	switch {
	case !ok:
		return ofTheEvent, nil, nil
	case k.held && credential != d.credential:
		return ofTheService, nil, nil // refused under a token that was replaced since
	case d.cleared.Contains(k.evidence):
		return ofTheEvent, nil, nil
	}
	r := d.runs[k.cause]
	if r == nil || (!k.forever && halted == nil && time.Since(r.since) > runWindow) {
		r.end(true) // whoever still waits for it is decided, as without a run
		r = &run{since: time.Now(), of: make(map[string]struct{}), over: make(chan struct{})}
		d.runs[k.cause] = r
	}
	if _, counted := r.of[k.subject]; !counted && len(r.of) < max(runSize, k.limit) {
		r.of[k.subject], r.last = struct{}{}, time.Now()
	}
	r.certain = r.certain || k.limit == 1 && a.Certain
	switch {
	case len(r.of) >= k.limit, halted != nil && halted.cause == k.cause:
		// Those that wait are asked for again: by the time that the halt ends,
		// the cause may have been fixed.
		r.end(false)
		return ofTheService, r, &halt{cause: k.cause, requestID: a.RequestID, reason: haltReason(k, a), single: k.limit == 1}
	case k.held:
		if r.ended {
			r.over, r.ended = make(chan struct{}), false
		}
		return suspect, r, nil
	}
	return ofTheEvent, r, nil
}

// end ends the run for those that wait for it; its evidence stays until it is
// cleared.
func (r *run) end(proven bool) {
	if r == nil || r.ended {
		return
	}
	r.ended, r.proven = true, proven
	close(r.over)
}

// counted reports whether a payer or order was counted as evidence, so that a
// call for it tells less than one for another.
func (d *detector) counted(about subject) bool {
	for _, e := range about.evidence() {
		if r := d.runs[e.cause]; r != nil {
			if _, in := r.of[e.subject]; in {
				return true
			}
		}
		if d.cleared.Contains(e) {
			return true
		}
	}
	return false
}

// clear takes the evidence back because a payment was made about a subject. A
// payment whose call began before the halt (after is false) says nothing of what a
// certain answer said since.
func (d *detector) clear(about subject, after bool) {
	for cause, r := range d.runs {
		if r.certain && !after {
			continue
		}
		for s := range r.of {
			d.cleared.Add(evidence{cause, s}, struct{}{})
		}
		r.end(true)
		delete(d.runs, cause)
	}
	// Whoever paid is new evidence if he is refused later.
	for _, e := range about.evidence() {
		d.cleared.Remove(e)
	}
}

// follow forgets all evidence when the access token has changed: it was about
// another one.
func (d *detector) follow(credential uint64) {
	if credential == d.credential {
		return
	}
	d.credential = credential
	for _, r := range d.runs {
		r.end(false)
	}
	clear(d.runs)
	d.cleared.Purge()
}

// evidence returns what a subject can be counted as.
func (s subject) evidence() []evidence {
	all := make([]evidence, 0, len(haltCauses()))
	for _, cause := range haltCauses() {
		e := evidence{cause, s.order}
		if cause == causePayers {
			e.subject = string(s.payer[:])
		}
		all = append(all, e)
	}
	return all
}

// shift leaves a time out of the runs in which nobody was answered.
func (d *detector) shift(by time.Duration) {
	for _, r := range d.runs {
		r.since, r.last = r.since.Add(by), r.last.Add(by)
	}
}

// goOn lets the runs that there are go on from now: nothing has ended them.
func (d *detector) goOn() {
	for _, r := range d.runs {
		r.since = time.Now()
	}
}

// haltReason says what is wrong and what to do, after the last answer.
func haltReason(k kind, a mercadopago.Answer) string {
	const off = "; if the answers are right, set CAPTURE_REFUSAL_RUN higher, or to 0, and start again"
	switch {
	case k.cause == causePayers:
		return fmt.Sprintf("%d different payers in a row were refused (the last answer: %s); that is hardly the buyers' doing: "+
			"check whether the access token is of the application that these payers agreed to", k.limit, a.Detail) + off
	case k.cause == causeRequests:
		return fmt.Sprintf("the requests of %d different orders in a row were refused (the last answer: %s): "+
			"look at what changed in the events, and at the application of the access token", k.limit, a.Detail) + off
	case k.cause == causeContradictions:
		return fmt.Sprintf("the answers for %d different orders in a row contradict what was asked for (the last answer: %s): "+
			"the buyers may have been charged wrongly; check whether CURRENCY is that of the access token's site", k.limit, a.Detail) + off
	case k.limit > 1:
		return fmt.Sprintf("%d different orders in a row, and no payment between: %s; also check firewalls and proxies before the API", k.limit, a.Reason)
	}
	return a.Reason
}
